"""Parameters in the address, at a running service: refused wherever they are not what they must be."""

import pytest

from tests.support.inputs.slices import jpeg_slice
from tests.support.serving import RunningService


@pytest.mark.parametrize("number", ["0" * 19 + "1" + "0" * 1900, "9" * 100, "1_0", "nan", "1e999", "%D9%A1"])
def test_a_number_in_the_address_is_refused_wherever_it_stands(service: RunningService, number: str) -> None:
    """No number that Python takes and nobody means, and none as long as a page, breaks an answer or is repeated."""
    asked = [(path, "frame") for path in ("/predict", "/predict/batch", "/explain", "/render")]
    for path, name in [*asked, ("/render", "level"), ("/render", "width"), ("/explain", "opacity")]:
        answer = service.client.post(f"{path}?{name}={number}", content=jpeg_slice())
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:lungct:problem:invalid-request")
        assert answer.json()["detail"].startswith(f"{name} must be a")
        assert number not in answer.text


@pytest.mark.parametrize("name", ["frame", "class", "format", "opacity"])
def test_a_parameter_is_given_once(service: RunningService, name: str) -> None:
    """Whichever of two values was meant, it is not guessed."""
    value = {"frame": "1", "class": "Normal cases", "format": "json", "opacity": "1"}[name]
    answer = service.client.post("/explain", params=[(name, value), (name, value)], content=jpeg_slice())
    assert (answer.status_code, answer.json()["detail"]) == (422, f"{name} must not be given more than once.")
