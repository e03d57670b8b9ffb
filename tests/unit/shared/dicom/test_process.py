"""The processes that decode DICOM: what crashes, loops or wants all memory there harms nobody here."""

import os
import resource
import signal
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import psutil
import pytest

from shared.dicom.decode import inflated
from shared.dicom.errors import GAVE_UP, WORDS, DecoderUnavailable, NotCt
from shared.dicom.process import DicomProcess, _refusal
from shared.raster.decode import DEFAULT_LIMITS, RasterLimits, TooManyPixels, Undecodable
from shared.window import LUNG_WINDOW
from tests.support.inputs.dicom_files import LOSSLESS, ct_dataset, ct_file, hounsfield, written
from tests.support.inputs.slices import grey_slice
from tests.support.serving import wait_until

SLICE = grey_slice(1, 128)
BODY = ct_file(hounsfield(SLICE))
NOISE = np.random.default_rng(0).integers(-1000, 1000, (1024, 1024)).astype(np.int16)
SLOW = ct_file(NOISE, LOSSLESS["jpeg-2000"])


@pytest.fixture(scope="module")
def process() -> Iterator[DicomProcess]:
    decoder = DicomProcess(DEFAULT_LIMITS)
    yield decoder
    decoder.close()


def _works(decoder: DicomProcess) -> bool:
    return np.array_equal(decoder.decode(BODY, LUNG_WINDOW, 1).grey, SLICE)


def _parent(process: DicomProcess) -> psutil.Process:
    """Of its decoders; other tests of this process may have left theirs."""
    assert process._parent is not None
    return psutil.Process(process._parent.pid)


def test_a_file_is_decoded_and_nothing_stays_behind(process: DicomProcess) -> None:
    """The same pixels as in this process, and the child is gone."""
    assert _works(process)
    wait_until(lambda: not _parent(process).children(), "the child is gone")


def test_errors_arrive_as_they_were_raised(process: DicomProcess) -> None:
    """Class and sentence."""
    with pytest.raises(NotCt, match=r"^Expected a DICOM file of a CT slice, got an object of the modality MR\.$"):
        process.decode(ct_file(hounsfield(SLICE), Modality="MR"), LUNG_WINDOW, 1)
    small = DicomProcess(RasterLimits(max_pixels=1000))
    with pytest.raises(TooManyPixels, match="128 x 128"):
        small.decode(BODY, LUNG_WINDOW, 1)
    small.close()


def test_only_our_own_words_come_back() -> None:
    """A file that took its decoder over could say what it likes."""
    said = _refusal({"refused": "NotCt", "arguments": ["Smith^John"]})
    assert str(said) == str(Undecodable(GAVE_UP))
    assert all(str(_refusal({"refused": "NotCt", "arguments": [word]})) == str(NotCt(word)) for word in WORDS)


def _decode_while_ended(process: DicomProcess, *signals: int) -> object:
    """What comes of a slow file whose decoders, one after the other, are sent these signals: a slice or an error."""
    outcome: list[object] = []

    def decode() -> None:
        try:
            outcome.append(process.decode(SLOW, LUNG_WINDOW, 1).grey.shape)
        except (Undecodable, DecoderUnavailable) as error:
            outcome.append(error)

    assert _works(process)
    wait_until(lambda: not _parent(process).children(), "the child that answered is gone")
    thread = threading.Thread(target=decode)
    thread.start()
    sent: set[int] = set()
    for number in signals:
        child = wait_until(
            lambda: [one for one in _parent(process).children() if one.pid not in sent], "a child decodes"
        )[0]
        sent.add(child.pid)
        os.kill(child.pid, number)
    thread.join()
    return outcome[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_decoder_that_ended_once_is_tried_again(process: DicomProcess, number: signal.Signals) -> None:
    """By the system for want of memory, or by a crash: the file is decoded as if nothing had been."""
    assert _decode_while_ended(process, number) == (1024, 1024)


def test_a_decoder_killed_twice_says_nothing_of_its_file(process: DicomProcess) -> None:
    """Nobody is told that a sound file is damaged because the machine has no memory for it."""
    outcome = _decode_while_ended(process, signal.SIGKILL, signal.SIGKILL)
    assert isinstance(outcome, DecoderUnavailable)
    assert outcome.retry_after_s > 0
    assert _works(process)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_what_crashes_twice_is_the_files_problem(process: DicomProcess, number: signal.Signals) -> None:
    """The system ends the child as it ends one that reads where it must not, or that codecs end themselves."""
    outcome = _decode_while_ended(process, number, number)
    assert str(outcome) == str(Undecodable(GAVE_UP))
    assert _works(process)


def test_nobody_waits_for_a_decoder_that_gets_no_time(process: DicomProcess) -> None:
    """As where a process is stopped: its wall time ends it, and the file may be sound."""
    assert isinstance(_decode_while_ended(process, signal.SIGALRM), DecoderUnavailable)


def test_what_takes_too_long_is_ended() -> None:
    """By processor time, also inside a codec."""
    impatient = DicomProcess(DEFAULT_LIMITS, cpu_s=0.05)
    with pytest.raises(Undecodable, match=GAVE_UP):
        impatient.decode(SLOW, LUNG_WINDOW, 1)
    impatient.close()


def test_a_file_that_unpacks_to_gigabytes_is_ended(process: DicomProcess) -> None:
    """A deflated data set of 1 GiB in 1 MB."""
    body = written(ct_dataset(hounsfield(SLICE)), LOSSLESS["deflated"])
    header = body[: body.index(b"DICM") + 4 + 12 + int.from_bytes(body[140:144], "little")]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    segment = packer.compress(bytes(16 * 2**20)) + packer.flush(zlib.Z_FULL_FLUSH)  # so that it can be repeated
    bomb = header + segment * 64 + packer.flush()
    with pytest.raises(Undecodable, match=GAVE_UP):
        process.decode(bomb, LUNG_WINDOW, 1)
    assert _works(process)


def test_it_starts_again_when_somebody_ended_it(process: DicomProcess) -> None:
    """An operator, or the system for want of memory."""
    assert _works(process)
    ended = _parent(process)
    ended.kill()
    wait_until(lambda: ended.status() == psutil.STATUS_ZOMBIE, "it is gone")
    assert _works(process)
    assert _parent(process) != ended


@contextmanager
def _files_open(count: int, *, at_most: int | None = None) -> Iterator[None]:
    """So many more files, under this limit of them."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(before[1], 4096)), before[1]))
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        for _ in range(count):
            opened.callback(os.close, os.dup(0))
        if at_most is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (at_most, before[1]))
        yield


def test_files_beyond_the_first_thousand_are_files_too(process: DicomProcess) -> None:
    """A service with many connections open starts its decoders, and learns how they ended."""
    process.close()
    with _files_open(1100):
        assert _works(process)
        assert _decode_while_ended(process, signal.SIGKILL) == (1024, 1024)
    process.close()


@pytest.mark.parametrize("spare", range(4))
def test_where_no_more_files_can_be_opened_nothing_is_said_of_the_slice(process: DicomProcess, spare: int) -> None:
    """Two ends of a conversation and two of a pipe: whichever is lacking, the file can be decoded later."""
    assert _works(process)
    free: list[int] = []
    while len(free) < spare + 1:
        free.append(os.dup(0))
    limit = free[-1]
    for file in free:
        os.close(file)
    with _files_open(0, at_most=limit), pytest.raises(DecoderUnavailable):
        process.decode(BODY, LUNG_WINDOW, 1)
    assert _works(process)


def test_a_deflated_file_may_be_as_large_as_the_limit_of_pixels_says() -> None:
    """Of a frame, and of what its file inflates to: the operator sets one number."""
    content = ct_dataset(hounsfield(SLICE))
    body = written(content, LOSSLESS["deflated"])
    assert inflated(body, 128 * 128) != body
    with pytest.raises(Undecodable, match=GAVE_UP):
        inflated(body, 64 * 64)


def test_many_at_a_time_do_not_mix(process: DicomProcess) -> None:
    """Each thread gets its own slice."""
    greys = [grey_slice(seed, 64) for seed in range(8)]
    found: dict[int, bool] = {}

    def decode(number: int) -> None:
        grey = process.decode(ct_file(hounsfield(greys[number])), LUNG_WINDOW, 1).grey
        found[number] = np.array_equal(grey, greys[number])

    threads = [threading.Thread(target=decode, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(8), True)


def test_it_ends_with_whoever_started_it() -> None:
    """Closing the door is enough."""
    decoder = DicomProcess(DEFAULT_LIMITS)
    assert _works(decoder)
    parent = _parent(decoder)
    decoder.close()
    assert not parent.is_running()
