"""The input pipeline: files to uint8 slices in memory."""

import io
from pathlib import Path

import cv2
import numpy as np

from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec, to_tensor
from shared.raster.decode import decode_grey
from shared.slices import SliceDecoder
from shared.window import Window
from tests.support.inputs.dicom_files import ct_file, hounsfield
from tests.support.inputs.image_files import png
from tests.support.inputs.slices import grey_slice
from trainer.data import input_pipeline
from trainer.data.dataset import index_folder
from trainer.data.image_measures import columns
from trainer.data.input_pipeline import read_dataset
from trainer.progress import with_progress


def test_slices_are_what_the_service_would_see(phantom_folder: Path) -> None:
    """Every row is what SliceDecoder and to_tensor() make of its file, in order, for any number of threads."""
    spec, decoder = PreprocessingSpec(height=64, width=64), SliceDecoder()
    index = index_folder(phantom_folder, LUNG_CT_CLASSES)
    one, many = read_dataset(index, spec, threads=1), read_dataset(index, spec, threads=5)
    np.testing.assert_array_equal(one.images, many.images)
    assert one.digests == many.digests
    assert one.files == many.files
    for file, image in zip(one.files, one.images, strict=True):
        np.testing.assert_array_equal(image, to_tensor(decoder.decode((phantom_folder / file).read_bytes()).grey, spec))
    assert one.images.dtype == np.uint8
    assert len(one) == 24


def test_thumbnails_are_of_whole_frames(phantom_folder: Path) -> None:
    """A slice's thumbnail is its decoded frame, uncropped, shrunk by area: made in the pass that prepares it."""
    dataset = read_dataset(index_folder(phantom_folder, LUNG_CT_CLASSES), PreprocessingSpec(height=32, width=32))
    assert dataset.thumbnails.shape == (24, 64, 64)
    for file, small in zip(dataset.files, dataset.thumbnails, strict=True):
        frame = decode_grey((phantom_folder / file).read_bytes())
        np.testing.assert_array_equal(small, cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA))


def test_slices_are_measured_in_the_same_pass_where_asked_for(phantom_folder: Path) -> None:
    """Sizes are those of the frames, noise of soft tissue is the acquisition's, and picked rows keep theirs."""
    index, spec = index_folder(phantom_folder, LUNG_CT_CLASSES), PreprocessingSpec(height=32, width=32)
    dataset = read_dataset(index, spec, is_measured=True)
    frames = [decode_grey((phantom_folder / file).read_bytes()).shape[::-1] for file in dataset.files]
    np.testing.assert_array_equal(columns(dataset.measures, "image width", "image height"), frames)
    grain = [one.grain for one in dataset.acquisitions]
    np.testing.assert_array_equal(columns(dataset.measures, "soft tissue noise")[:, 0], np.nan_to_num(grain))
    np.testing.assert_array_equal(dataset.only(np.array([3, 1])).measures, dataset.measures[[3, 1]])
    assert read_dataset(index, spec).measures.size == 0


def test_a_file_beyond_the_limit_is_skipped_unread(tmp_path: Path) -> None:
    """A file of a size that no slice has is listed with both sizes."""
    for name in ("normal", "benign", "malignant"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), np.eye(40, dtype=np.uint8) * 200)
    with (tmp_path / "normal" / "huge.png").open("wb") as file:
        file.truncate(input_pipeline.MAX_FILE_BYTES + 1)  # sparse: takes no space
    dataset = read_dataset(index_folder(tmp_path, LUNG_CT_CLASSES), PreprocessingSpec(height=32, width=32))
    assert [skipped.path.name for skipped in dataset.skipped] == ["huge.png"]
    assert "at most" in dataset.skipped[0].reason


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_in_a_log_is_whole_lines() -> None:
    """Where the stream is no terminal there is no carriage return, and the last line says that all is done."""
    log = io.StringIO()
    assert list(with_progress(range(1000), 1000, "Reading slices", log)) == list(range(1000))
    assert "\r" not in log.getvalue()
    lines = log.getvalue().splitlines()
    assert lines[0] == "Reading slices: 1000 to do"
    assert lines[-1].startswith("Reading slices: 1000/1000 done in ")
    assert len(lines) < 5


def test_progress_in_a_terminal_is_a_bar() -> None:
    """A terminal gets a bar that redraws itself in place."""
    terminal = Terminal()
    assert list(with_progress(range(10), 10, "Reading slices", terminal)) == list(range(10))
    assert "\r" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_dicom_is_read_beside_other_files_and_knows_its_patient(tmp_path: Path) -> None:
    """By content, whatever the file is called; the same tensor as the exported slice of the same grey values."""
    grey = grey_slice(1, 128)
    for name in ("normal", "benign", "malignant"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(grey))
        (tmp_path / name / "IM0001").write_bytes(ct_file(hounsfield(grey), PatientID=name))
        (tmp_path / name / "IM0002").write_bytes(ct_file(hounsfield(grey), PatientID=name, Manufacturer="SIEMENS"))
        (tmp_path / name / "stack.dcm").write_bytes(ct_file(np.stack([hounsfield(grey)] * 2)))
        (tmp_path / name / "mr.dcm").write_bytes(ct_file(hounsfield(grey), Modality="MR"))
    spec = PreprocessingSpec(height=32, width=32)
    dataset = read_dataset(index_folder(tmp_path, LUNG_CT_CLASSES), spec)
    assert dataset.kinds == ("png", "dicom", "dicom") * 3
    assert dataset.describe()["formats"] == {"png": 3, "dicom": 6}
    assert all(np.array_equal(image, dataset.images[0]) for image in dataset.images)
    assert [one.tags and one.tags.maker for one in dataset.acquisitions] == [None, None, "SIEMENS"] * 3
    assert dataset.patients[0] is None
    assert dataset.patients[1] == dataset.patients[2] != dataset.patients[4]
    reasons = {skipped.path.name: skipped.reason for skipped in dataset.skipped}
    assert set(reasons) == {"stack.dcm", "mr.dcm"}
    assert reasons["stack.dcm"] == "The file has 2 frames; expected one slice a file."
    assert reasons["mr.dcm"].startswith("Expected a DICOM file of a CT slice")


def test_the_window_of_the_spec_is_what_dicom_is_seen_in(tmp_path: Path) -> None:
    """As in the service."""
    units = np.arange(-1000, 600, 16, dtype=np.int16)[:, None].repeat(100, 1)
    for name in ("normal", "benign", "malignant"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(ct_file(units))
    spec = PreprocessingSpec(height=100, width=100, crop="none", window=Window(level=40, width=400))
    dataset = read_dataset(index_folder(tmp_path, LUNG_CT_CLASSES), spec)
    assert np.array_equal(dataset.images[0][:, :, 0], Window(level=40, width=400).apply(units))
