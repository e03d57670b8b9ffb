"""The documentation is true: valid, complete, its examples are what callers really get, and it needs no other host."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from service.api.problems import example_of, kind_of
from tests.support.inputs.slices import jpeg_slice, png_bomb, tiny_png
from tests.support.problem_table import all_problems
from tests.support.serving import RunningService, serving

ROUTES = {
    ("post", "/predict"), ("post", "/predict/batch"), ("post", "/render"), ("post", "/explain"), ("get", "/health"),
    ("get", "/health/live"), ("get", "/health/ready"), ("get", "/model-info"), ("get", "/model-info/card"),
    ("get", "/model-info/figures/{name}"), ("get", "/metrics"),
}  # fmt: skip


@pytest.fixture(scope="module")
def document(service: RunningService) -> dict[str, Any]:
    answer = service.client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or the component that it refers to."""
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].removeprefix("#/components/schemas/")
    return dict(document["components"]["schemas"][name])


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    """It follows the OpenAPI 3.1 specification, and has every route."""
    validate(document)
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == ROUTES


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/render", "/explain"])
def test_whatever_takes_a_slice_takes_a_frame(document: dict[str, Any], path: str) -> None:
    """`frame` is documented once, as a whole number from 1."""
    named = [one for one in document["paths"][path]["post"]["parameters"] if one["name"] == "frame"]
    assert [one["schema"] for one in named] == [{"type": "integer", "minimum": 1, "maximum": 2**31 - 1, "default": 1}]


def test_a_client_can_be_generated_from_any_document(document: dict[str, Any]) -> None:
    """Operations have short unique names, bytes a type that generators know, and keyed answers stand in it always."""
    operations = {(method, path): o for path, methods in document["paths"].items() for method, o in methods.items()}
    names = [operation["operationId"] for operation in operations.values()]
    assert sorted(names) == sorted(set(names))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)?", name) for name in names), names
    for (method, path), operation in operations.items():
        is_guarded = not path.startswith("/health")
        assert ("401" in operation["responses"]) == is_guarded, path
        assert ("429" in operation["responses"]) == (method == "post"), path
    for path in ("/predict", "/render", "/explain"):
        content = operations["post", path]["requestBody"]["content"]
        assert {"multipart/form-data", "application/octet-stream"} <= set(content), path
    for at in (("post", "/render"), ("post", "/explain"), ("get", "/model-info/figures/{name}")):
        schema = operations[at]["responses"]["200"]["content"]["image/png"]["schema"]
        assert schema == {"type": "string", "format": "binary", "contentMediaType": "image/png"}, at


def test_every_answer_and_error_has_an_example(document: dict[str, Any]) -> None:
    """Each status of each route has at least one example, in place or with its schema."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            for status, response in operation["responses"].items():
                for media_type, content in response["content"].items():
                    schema = resolved(document, content.get("schema", {}))
                    examples = content.get("examples") or content.get("example") or schema.get("examples")
                    assert examples, (method, path, status, media_type)


def test_examples_of_problems_are_of_their_type_and_status(document: dict[str, Any]) -> None:
    """Errors are announced as problem+json only; each example has the type, title, status and fields of its kind."""
    types = {kind_of(error).name: error for error in all_problems()}
    seen = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if "application/problem+json" not in response["content"]:
                    continue
                assert list(response["content"]) == ["application/problem+json"]
                for name, example in response["content"]["application/problem+json"]["examples"].items():
                    value, kind = example["value"], kind_of(types[name])
                    seen.add(name)
                    assert (value["type"], value["title"]) == (kind.uri, kind.title)
                    assert value["status"] == kind.status == int(status)
                    assert value["detail"] == str(example_of(types[name]))
                    assert ("retry_after_s" in value) == (kind.status in (429, 503))
    # the others belong to no route, for an address that does not exist has no documentation; or to no route alone
    below_the_routes = {"malformed-http", "head-too-slow", "target-too-long", "headers-too-large"}
    assert set(types) - seen == {"not-found", "method-not-allowed", "origin-not-allowed", *below_the_routes}


def test_real_problems_look_like_their_examples(service: RunningService, document: dict[str, Any]) -> None:
    """What callers really get has the fields, types and words of the documented example."""
    responses = document["paths"]["/predict"]["post"]["responses"]
    sent: dict[str, dict[str, Any]] = {
        "nothing-sent": {"content": b""},
        "empty-part": {"files": {"file": b""}},
        "wrong-field": {"files": {"image": b"x"}},
        "malformed-multipart": {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        "too-many-bytes": {"content": bytes(21 * 1024 * 1024)},
        "too-many-pixels": {"content": png_bomb()},
        "not-an-image-type": {"content": b"GIF89a"},
        "undecodable": {"content": jpeg_slice()[:-300]},
        "too-small": {"content": tiny_png()},
    }
    for name, request in sent.items():
        answer = service.client.post("/predict", **request)
        examples = responses[str(answer.status_code)]["content"][answer.headers["content-type"]]["examples"]
        example, body = examples[name]["value"], answer.json()
        assert {key: type(value) for key, value in body.items()} == {key: type(v) for key, v in example.items()}
        same = ("type", "title", "status") if name in ("undecodable", "malformed-multipart") else (
            "type", "title", "status", "detail")  # fmt: skip
        assert {key: body[key] for key in same} == {key: example[key] for key in same}


def test_real_answers_look_like_their_examples(service: RunningService, document: dict[str, Any]) -> None:
    """Answers of every route have the fields that their documentation has."""
    slice_ = jpeg_slice()
    answers = {
        ("post", "/predict"): service.client.post("/predict", content=slice_),
        ("post", "/predict/batch"): service.client.post(
            "/predict/batch", files=[("files", ("a", slice_)), ("files", ("b", b"x"))]
        ),
        **{
            ("get", path): service.client.get(path)
            for method, path in ROUTES
            if method == "get" and path not in ("/metrics", "/model-info/card", "/model-info/figures/{name}")
        },
    }
    for (method, path), answer in answers.items():
        content = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]
        schema = resolved(document, content["schema"])
        examples = schema.get("examples") or [content["example"]]
        assert any(set(example) == set(answer.json()) for example in examples), path
    batch = resolved(document, {"$ref": "#/components/schemas/BatchAnswer"})["examples"][0]["results"]
    assert [set(item) for item in batch] == [set(item) for item in answers["post", "/predict/batch"].json()["results"]]


def test_what_is_documented_as_the_body_is_accepted(service: RunningService, document: dict[str, Any]) -> None:
    """Each media type of the request body that is documented is really taken."""
    for media_type in document["paths"]["/predict"]["post"]["requestBody"]["content"]:
        if media_type == "multipart/form-data":
            answer = service.client.post("/predict", files={"file": jpeg_slice()})
        else:
            answer = service.client.post("/predict", content=jpeg_slice(), headers={"Content-Type": media_type})
        assert answer.status_code == 200, media_type


def test_pages_need_no_other_host(service: RunningService) -> None:
    """The page and Swagger UI, and every file that they load, refer to this service only."""
    to_visit, visited = ["/", "/docs"], set()
    while to_visit:
        path = to_visit.pop()
        if path in visited:
            continue
        visited.add(path)
        answer = service.client.get(path)
        assert answer.status_code == 200, path
        if "html" in answer.headers["content-type"]:
            for target in re.findall(r"""(?:src|href)=["']([^"'#]+)["']""", answer.text):
                assert "//" not in target, f"{path} refers to {target}"
                to_visit.append(f"/{target.lstrip('./')}")
        if "javascript" in answer.headers["content-type"] and path.startswith("/static/"):
            modules = re.findall(r"""(?:from|import|import\() ?["']\./([^"']+)["']""", answer.text)
            to_visit += [f"{path.rpartition('/')[0]}/{module}" for module in modules]
            to_visit += [f"/{address}" for address in re.findall(r"""url: ["']([^"']+)""", answer.text)]
        if "css" in answer.headers["content-type"]:
            assert not re.findall(r"url\(\s*['\"]?(?:https?:)?//", answer.text), path
            assert "@import" not in answer.text
    assert {
        "/swagger/swagger-ui-bundle.js",
        "/swagger/swagger-ui.css",
        "/static/js/model.js",
        "/openapi.json",
    } <= visited


def test_the_disclaimer_is_everywhere(service: RunningService, document: dict[str, Any]) -> None:
    """That it is no diagnosis stands in the documentation, on the page, in the model's info and in each answer."""
    disclaimer = "Research and education only: not for diagnosis."
    assert disclaimer in document["info"]["description"]
    assert disclaimer in service.client.get("/").text
    assert disclaimer in service.model_info()["warnings"]
    assert disclaimer in service.client.post("/predict", content=jpeg_slice()).json()["warnings"]
    # and what the model itself has to say
    assert "Untrained network of the tests." in service.model_info()["warnings"]


def test_the_model_is_described(service: RunningService) -> None:
    """/model-info has the manifest of the serving version without its files, the engine and when it was loaded."""
    info = service.model_info()
    assert (info["model_name"], info["model_version"], info["versions"]) == ("lung-ct", 1, [1])
    assert (info["pinned"], info["failures"]) == (None, [])
    assert info["engine"].startswith("openvino ")
    assert info["loaded_at"].endswith("Z") or "+00:00" in info["loaded_at"]
    assert info["manifest"]["architecture"] == "tiny"
    assert info["manifest"]["preprocessing"]["height"] == 224
    assert "files" not in info["manifest"]
    assert str(Path.cwd()) not in json.dumps(info)


def test_every_limit_in_an_answer_is_the_one_that_is_set(tiny_network_repository: Path) -> None:
    """Details name the limits of this instance, not the defaults."""
    with serving(tiny_network_repository, max_upload_bytes=50_000, max_pixels=70_000, max_files=2) as strict:
        answer = strict.client.post("/predict", content=bytes(50_001))
        assert (answer.status_code, "50000 bytes" in answer.json()["detail"]) == (413, True)
        answer = strict.client.post("/predict", content=jpeg_slice(1, side=300))
        assert (answer.status_code, "70000 pixels" in answer.json()["detail"]) == (413, True)
        assert strict.client.post("/predict", content=jpeg_slice(1, side=256)).status_code == 200
        answer = strict.client.post("/predict/batch", files=[("files", ("a", jpeg_slice()))] * 3)
        assert (answer.status_code, "2 files" in answer.json()["detail"]) == (413, True)
