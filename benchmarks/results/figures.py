"""Rounds → the figures of results.json: medians with their spread, and the ratios that the service is held to."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.load.servers import LUNGCT, Server
from benchmarks.results.rows import spread
from benchmarks.serving.bare import ONE_BY_ONE
from benchmarks.serving.rounds import Round, ServerRound

_LEVEL_FIGURES = ("throughput", "p50_ms", "p99_ms", "cpu_s_per_request")
_RATIOS_AT_16 = {
    "throughput_vs_litserve_tf_16": "litserve_tf",
    "throughput_vs_bentoml_tf_16": "bentoml_tf",
    "throughput_vs_flask_tf_16": "flask_tf",
    "throughput_vs_litserve_ov_16": "litserve_ov",
    "throughput_vs_mosec_ov_16": "mosec_ov",
}


def server_figures(server: Server, rounds: Sequence[Round]) -> dict[str, Any]:
    """Everything that was measured of one server."""
    mine = [one.servers[server.name] for one in rounds]
    return {
        "label": server.label,
        "levels": {
            str(connections): {
                name: spread([getattr(one.levels[connections], name) for one in mine]) for name in _LEVEL_FIGURES
            }
            for connections in mine[0].levels
        },
        "first_answer_s": spread([one.first_answer_s for one in mine]),
        "rss_mb": spread([one.rss_mb for one in mine]),
        "pss_mb": spread([one.pss_mb for one in mine]),
    }


def bare_figures(rounds: Sequence[Round]) -> dict[str, Any]:
    """The bare loop by arrangement, and which of them is the limit."""
    arrangements = {
        name: {figure: spread([one.bare[name][figure] for one in rounds]) for figure in figures}
        for name, figures in rounds[0].bare.items()
    }
    return {"limit": _fastest(rounds), "arrangements": arrangements}


def overload_figures(rounds: Sequence[Round]) -> dict[str, Any]:
    """The service beyond its capacity."""
    results = [asdict(one.overload) for one in _service(rounds) if one.overload]
    return {name: spread([result[name] for result in results]) for name in results[0]}


def generator_cpu_share(rounds: Sequence[Round]) -> float:
    """Most cores that wrk took of the machine in any window."""
    return max(
        level.generator_cpu_share
        for one in rounds
        for server in one.servers.values()
        for level in server.levels.values()
    )


def serving_ratios(rounds: Sequence[Round]) -> dict[str, float]:
    """`ratios` as far as what was measured allows: each the median over the rounds of the ratio within a round."""
    limit = _fastest(rounds)
    by_round = [_ratios(one, limit) for one in rounds]
    return {key: spread([ratios[key] for ratios in by_round])["median"] for key in by_round[0]}


def _ratios(one: Round, limit: str) -> dict[str, float]:
    mine, bare = one.servers[LUNGCT.name], one.bare
    ratios = {"rss_mb": mine.rss_mb, "ready_s": mine.first_answer_s}
    if 1 in mine.levels:
        ratios["p50_vs_bare_1"] = mine.levels[1].p50_ms / bare[ONE_BY_ONE]["p50_ms"]
    if 16 in mine.levels:
        ratios["p99_over_p50_16"] = mine.levels[16].p99_ms / mine.levels[16].p50_ms
        for key, name in _RATIOS_AT_16.items():
            if name in one.servers:
                ratios[key] = mine.levels[16].throughput / one.servers[name].levels[16].throughput
    for connections in {16, 64} & mine.levels.keys():
        ratios[f"throughput_vs_bare_{connections}"] = mine.levels[connections].throughput / bare[limit]["throughput"]
    return ratios


def _fastest(rounds: Sequence[Round]) -> str:
    names = rounds[0].bare
    return max(names, key=lambda name: median(one.bare[name]["throughput"] for one in rounds))


def _service(rounds: Sequence[Round]) -> list[ServerRound]:
    return [one.servers[LUNGCT.name] for one in rounds]
