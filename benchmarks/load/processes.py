"""What a server costs: CPU time and memory of its process and all of its children."""

import contextlib

import psutil


def _tree(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """User and system time that the living processes of the tree have used so far."""
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident memory of the tree in MB (10^6 bytes): (RSS, PSS).

    RSS counts a page once for each process that maps it; PSS (proportional set size) counts a shared page once in all.
    """
    rss = pss = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info()
            rss += memory.rss
            pss += memory.pss
    return rss / 1e6, pss / 1e6


def end_tree(process: psutil.Popen, patience_s: float = 10.0) -> None:
    """Ask it to end (SIGTERM), and end by force what of the tree is still there after patience_s."""
    try:
        tree = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        tree = []
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    _, alive = psutil.wait_procs(tree, timeout=patience_s)
    for one in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=patience_s)
