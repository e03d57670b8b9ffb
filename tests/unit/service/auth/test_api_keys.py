"""Who holds a key: lines of the key file, and what happens when the file changes, breaks or vanishes."""

from pathlib import Path

import pytest

from service.auth.api_keys import ApiKeys, KeysError, key_line, make_key, parse_keys
from service.auth.rate_limit import Limit


def keys_of(file: Path | None = None, fixed: str = "") -> ApiKeys:
    return ApiKeys(file, fixed, poll_interval_s=2.0)


def write(file: Path, *lines: str) -> None:
    """As an editor does that writes aside and renames: another inode each time."""
    aside = file.with_suffix(".aside")
    aside.write_text("\n".join(lines) + "\n", "utf-8")
    aside.rename(file)


def test_a_made_key_is_found_by_its_line() -> None:
    """The line that is kept knows the key and no other, and does not hold it."""
    key, other = make_key(), make_key()
    line = key_line("pacs", key, Limit(600, 60))
    assert key not in line
    keys = keys_of(fixed=line)
    caller = keys.find(key.encode())
    assert caller is not None
    assert (caller.name, str(caller.allowance.limit if caller.allowance else "")) == ("pacs", "600/60")
    for wrong in (other, "", "pacs", key[:-1], key + "x", key.lower(), "x" * 10_000):
        assert keys.find(wrong.encode()) is None
    assert len(key) > 43
    assert key != other


@pytest.mark.parametrize("name", ["", "two words", "ünicode", "x" * 65, "-dash", "a/b"])
def test_a_name_is_one_word(name: str) -> None:
    """Names go into logs, labels and ledgers."""
    with pytest.raises(KeysError, match="expected a name"):
        key_line(name, make_key())


@pytest.mark.parametrize(
    "line",
    [
        "lungct_secret", "pacs lungct_secret", "pacs sha256:12", f"pacs md5:{'0' * 64}", f"pacs sha256:{'0' * 64} 5 5",
        f"pacs sha256:{'G' * 64}", f"a;b sha256:{'0' * 64}", f"pacs sha256:{'0' * 64} 5", f"pacs sha256:{'0' * 64} 0/5",
    ],
)  # fmt: skip
def test_a_wrong_line_is_told_without_being_repeated(line: str) -> None:
    """What is wrong is told by its line number: it may be a key that stands there in clear."""
    with pytest.raises(KeysError) as told:
        parse_keys([line])
    assert "secret" not in str(told.value)
    assert line not in str(told.value)


def test_old_and_new_key_of_a_caller_hold_side_by_side(tmp_path: Path) -> None:
    """A caller changes over without an outage: two lines of one name, then the old one is taken out."""
    file, old, new = tmp_path / "keys", make_key(), make_key()
    write(file, "# of the radiology", key_line("pacs", old), key_line("pacs", new), "", key_line("ris", make_key()))
    keys = keys_of(file)
    assert [keys.find(key.encode()).name for key in (old, new)] == ["pacs", "pacs"]
    write(file, key_line("pacs", new))
    keys.poll()
    assert keys.find(old.encode()) is None
    assert keys.find(new.encode()) is not None
    assert keys.complaint is None


def test_a_file_that_is_gone_lets_nobody_in(tmp_path: Path) -> None:
    """Missing or unreadable means closed, and is told; when it is back, so are its keys."""
    file, key = tmp_path / "keys", make_key()
    keys = keys_of(file)
    assert keys.is_closed
    assert keys.complaint == "the key file cannot be read: No such file or directory"
    write(file, key_line("pacs", key))
    keys.poll()
    assert (keys.is_closed, keys.complaint) == (False, None)
    assert keys.find(key.encode()) is not None


def test_a_file_that_vanishes_for_a_moment_forgets_no_debt(tmp_path: Path) -> None:
    """A volume that blinks closes and is told; when it is back, nobody has a fresh quota."""
    file, key = tmp_path / "keys", make_key()
    line = key_line("pacs", key, Limit(1, 3600))
    write(file, line)
    keys = keys_of(file)
    assert keys.find(key.encode()).allowance.take()
    file.unlink()
    keys.poll()
    assert keys.complaint == "the key file cannot be read: No such file or directory"
    assert (keys.is_closed, keys.find(key.encode())) == (True, None)
    write(file, line)
    keys.poll()
    assert keys.complaint is None
    assert not keys.find(key.encode()).allowance.take()


@pytest.mark.parametrize("content", ["", "\n\n", "# pacs left us\n", "\ufeff# pacs left us"])
def test_a_file_without_a_key_revokes_all(tmp_path: Path, content: str) -> None:
    """The only key can be taken out too: nobody may call any more (401, not 503), and it is told."""
    file, key = tmp_path / "keys", make_key()
    write(file, key_line("pacs", key))
    keys = keys_of(file)
    file.write_text(content, "utf-8")
    keys.poll()
    assert keys.find(key.encode()) is None
    assert (keys.callers, keys.is_closed) == ((), False)
    assert keys.complaint == "the key file holds no key: all of its keys are revoked"
    file.unlink()
    keys.poll()
    assert (keys.callers, keys.is_closed) == ((), True)


def test_a_key_that_comes_back_has_its_debt(tmp_path: Path) -> None:
    """Taken out and put in again, renamed, or with another limit: what was used stays used."""
    file, key, other = tmp_path / "keys", make_key(), key_line("ris", make_key())
    pacs, renamed, larger = (
        key_line(name, key, limit)
        for name, limit in (("pacs", Limit(1, 3600)), ("new-pacs", Limit(1, 3600)), ("new-pacs", Limit(5, 3600)))
    )
    write(file, pacs)
    keys = keys_of(file)
    assert keys.find(key.encode()).allowance.take()
    for lines in ([other], [other, "#"], [pacs, other], [], [renamed], [larger]):
        write(file, *lines)
        keys.poll()
        caller = keys.find(key.encode())
        assert (caller is not None) == any("pacs" in line for line in lines)
        assert caller is None or not caller.allowance.take()


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    """Some editors put one before UTF-8 text."""
    file, key = tmp_path / "keys", make_key()
    file.write_text(key_line("pacs", key), "utf-8-sig")
    keys = keys_of(file)
    assert keys.complaint is None
    assert keys.find(key.encode()).name == "pacs"


def test_a_file_that_is_being_written_changes_nothing(tmp_path: Path) -> None:
    """Half a line is what is there for a moment: the keys before stay in force, and it is told."""
    file, key = tmp_path / "keys", make_key()
    write(file, key_line("pacs", key))
    keys = keys_of(file)
    for half in (key_line("pacs", key)[:-7], "pa", "\xff"):
        file.write_bytes(half.encode("latin-1"))
        keys.poll()
        assert keys.find(key.encode()) is not None
        assert (keys.complaint or "").startswith("the key file cannot be understood")
    write(file, key_line("pacs", key))
    keys.poll()
    assert keys.complaint is None


def test_a_file_that_did_not_change_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time, size and inode are looked at; content only where one of them changed."""
    file = tmp_path / "keys"
    write(file, key_line("pacs", make_key()))
    keys = keys_of(file)
    before = keys.callers
    monkeypatch.setattr(Path, "read_text", None)  # a read would break
    keys.poll()
    assert keys.callers is before or keys.callers == before


def test_a_used_up_limit_survives_another_keys_change(tmp_path: Path) -> None:
    """Rotation of one key gives nobody else a fresh quota."""
    file, key = tmp_path / "keys", make_key()
    line = key_line("pacs", key, Limit(1, 3600))
    write(file, line)
    keys = keys_of(file)
    assert keys.find(key.encode()).allowance.take()
    write(file, line, key_line("ris", make_key()))
    keys.poll()
    assert not keys.find(key.encode()).allowance.take()


def test_keys_of_the_environment_need_no_file() -> None:
    """Lines separated by semicolons; wrong ones are told at start."""
    one, two = make_key(), make_key()
    keys = keys_of(fixed=f"{key_line('a', one)}; {key_line('b', two)}")
    assert [keys.find(key.encode()).name for key in (one, two)] == ["a", "b"]
    for wrong in ("a", ";", "# none"):
        with pytest.raises(KeysError):
            keys_of(fixed=wrong)


def test_an_unreadable_file_lets_nobody_in(tmp_path: Path) -> None:
    """What cannot be read, here a folder in the file's place, is as a missing file."""
    file = tmp_path / "keys"
    file.mkdir()
    keys = keys_of(file)
    assert keys.complaint == "the key file cannot be read: Is a directory"
    assert keys.find(make_key().encode()) is None
