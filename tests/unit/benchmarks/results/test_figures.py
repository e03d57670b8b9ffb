import pytest

from benchmarks.load.closed_loop import LoadResult
from benchmarks.load.servers import LUNGCT, SERVERS
from benchmarks.results.figures import bare_figures, generator_cpu_share, server_figures, serving_ratios
from benchmarks.serving.bare import ONE_BY_ONE
from benchmarks.serving.rounds import Round, ServerRound


def level(throughput: float, p50_ms: float = 10.0, p99_ms: float = 15.0) -> LoadResult:
    return LoadResult(16, throughput, p50_ms, p99_ms, cpu_s_per_request=0.01, generator_cpu_share=0.02)


def one_round(mine: float, other: float, bare: float) -> Round:
    """A round in which the service, a peer and the bare loop had these throughputs."""
    service = ServerRound(1.5, {1: level(mine / 2, p50_ms=8.0), 16: level(mine)}, rss_mb=250.0)
    peer = ServerRound(4.0, {1: level(other / 2), 16: level(other)}, rss_mb=900.0)
    figures = {"throughput": bare, "p50_ms": 8.0, "p99_ms": 9.0, "cpu_s_per_request": 0.01}
    slow = {**figures, "throughput": bare / 2}
    return Round({LUNGCT.name: service, "litserve_tf": peer}, {ONE_BY_ONE: slow, "fast": figures}, idle_share=0.99)


def test_ratios_are_medians_of_the_ratios_within_rounds() -> None:
    """A round in which the whole machine was slow weighs as much as any other."""
    rounds = [one_round(100, 50, 200), one_round(10, 4, 20), one_round(90, 60, 100)]
    ratios = serving_ratios(rounds)
    assert ratios["throughput_vs_litserve_tf_16"] == pytest.approx(2.0)
    assert ratios["throughput_vs_bare_16"] == pytest.approx(0.5)
    assert ratios["p50_vs_bare_1"] == pytest.approx(1.0)
    assert ratios["p99_over_p50_16"] == pytest.approx(1.5)
    assert (ratios["rss_mb"], ratios["ready_s"]) == (250.0, 1.5)


def test_what_was_not_measured_gives_no_ratio() -> None:
    """Peers and numbers of connections that a run leaves out are missing, not guessed."""
    ratios = serving_ratios([one_round(100, 50, 200)])
    assert "throughput_vs_bentoml_tf_16" not in ratios
    assert "throughput_vs_bare_64" not in ratios


def test_the_limit_is_the_fastest_arrangement() -> None:
    """The bare loop is measured in several arrangements, and the best of them counts."""
    assert bare_figures([one_round(100, 50, 200)])["limit"] == "fast"


def test_figures_carry_their_spread() -> None:
    """Each figure is a median with the lowest and the highest round."""
    figures = server_figures(SERVERS[0], [one_round(value, 50, 200) for value in (90, 100, 130)])
    assert figures["levels"]["16"]["throughput"] == {"median": 100, "min": 90, "max": 130}
    assert figures["rss_mb"]["median"] == 250.0


def test_the_generators_share_is_the_worst_of_all_windows() -> None:
    """One window in which wrk took much of the machine is enough to show."""
    rounds = [one_round(100, 50, 200)]
    rounds[0].servers["litserve_tf"].levels[64] = LoadResult(64, 50, 10, 15, 0.01, generator_cpu_share=0.4)
    assert generator_cpu_share(rounds) == 0.4
