"""A key's limit, and how it is told."""

import pytest

from service.auth.rate_limit import Allowance, Limit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_quota_is_used_up_and_grows_back_evenly(clock: Clock) -> None:
    """All of it at once, then one for each share of the time."""
    allowance = Allowance(Limit(3, 30), clock)
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
    assert allowance.retry_after_s == pytest.approx(10)
    clock.now += 9.9
    assert not allowance.take()
    clock.now += 0.2
    assert allowance.take()
    assert not allowance.take()


def test_no_more_than_the_quota_gathers(clock: Clock) -> None:
    """Who was away for long gets no more than the quota."""
    allowance = Allowance(Limit(2, 1), clock)
    clock.now += 1000
    assert [allowance.take() for _ in range(3)] == [True, True, False]


def test_a_batch_may_leave_a_debt(clock: Clock) -> None:
    """What a batch turns out to hold is taken too, and has to grow back before the next request."""
    allowance = Allowance(Limit(2, 20), clock)
    assert allowance.take()
    allowance.take_more(3)
    assert allowance.retry_after_s == pytest.approx(30)
    clock.now += 30
    assert allowance.take()


def test_another_limit_goes_on_with_the_share_that_is_left(clock: Clock) -> None:
    """A caller whose limit is changed has neither a fresh quota nor a debt that the smaller limit takes hours over."""
    before = Allowance(Limit(100, 10), clock)
    for _ in range(75):
        before.take()
    assert before.share_left == pytest.approx(0.25)
    clock.now += 2.5
    after = Allowance(Limit(4, 400), clock)
    after.go_on_from(before)
    assert [after.take() for _ in range(3)] == [True, True, False]
    clock.now += 10_000
    assert (before.share_left, after.share_left) == (1, 1)


def test_fields_are_those_of_the_draft(clock: Clock) -> None:
    """RateLimit-Policy has quota and window; RateLimit what is left, and whole seconds until there is more."""
    allowance = Allowance(Limit(600, 60), clock)
    allowance.take()
    assert allowance.fields() == (
        (b"ratelimit-policy", b'"slices";q=600;w=60'),
        (b"ratelimit", b'"slices";r=599;t=1'),
    )
    scarce = Allowance(Limit(1, 90), clock)
    scarce.take()
    assert scarce.fields()[1] == (b"ratelimit", b'"slices";r=0;t=90')
    scarce.take_more(2)
    assert scarce.fields()[1] == (b"ratelimit", b'"slices";r=0;t=270')
    assert scarce.retry_after_s == pytest.approx(270)


@pytest.mark.parametrize("text", ["", "5", "5/", "/5", "0/5", "5/0", "-1/5", "5/1.5", "5/60s", "5 / 60"])
def test_a_limit_is_count_and_seconds(text: str) -> None:
    """Anything else is an error that says so."""
    with pytest.raises(ValueError, match="COUNT/SECONDS"):
        Limit.parse(text)
