"""The report in a real browser: it can be read in light and dark, at 1 version and at 1,000, narrow and wide."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chroma_lifecycle.page.html import page
from tests.support.histories import history_spec

pytestmark = pytest.mark.browser

LIGHT, DARK = 1, 0
STORED = {LIGHT: (0x2A, 0x6F, 0xD0), DARK: (0x5B, 0x9B, 0xF0)}
COPIED = {LIGHT: (0xD9, 0x73, 0x0D), DARK: (0xF0, 0x9A, 0x4A)}


def seen(home: Path, versions: int, scheme: int, width: int = 1_280) -> np.ndarray:
    """Return what the browser shows of a history of this length, as rows of pixels."""
    file = home / "report.html"
    file.write_text(page(history_spec(versions)), "utf-8")
    return screenshot(home, file, scheme, width)


def screenshot(home: Path, file: Path, scheme: int, width: int = 1_280) -> np.ndarray:
    """Return what the browser shows of a page, as rows of pixels."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert browser, "no Chromium is installed: on Debian, apt-get install chromium"
    shot = home / "shot.png"
    quiet = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
    subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            *quiet,
            f"--user-data-dir={home / 'profile'}",
            f"--window-size={width},1800",
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--screenshot={shot}",
            file.as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return np.asarray(Image.open(shot).convert("RGB")).astype(int)


def near(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Return how many pixels have a colour, but for a little."""
    return int((np.abs(pixels - np.array(colour)).max(axis=2) <= 6).sum())


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Return the relative luminance of pixels (WCAG 2.2)."""
    part = pixels / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("versions", [1, 1_000])
@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_report_can_be_read(tmp_path: Path, versions: int, scheme: int) -> None:
    """Text stands out as WCAG 2.2 asks (7 for the heading, 4.5 for the rest); both lines have the scheme's colours."""
    pixels = seen(tmp_path, versions, scheme)

    ground = luminance(pixels[5:6, 5:6])[0, 0]
    for rows, ratio in ((slice(30, 62), 7.0), (slice(68, 92), 4.5)):  # the heading, and the softer line below it
        ink = luminance(pixels[rows, 60:300])
        text = ink.min() if scheme == LIGHT else ink.max()
        assert (max(ground, text) + 0.05) / (min(ground, text) + 0.05) > ratio
    assert (ground > 0.8) == (scheme == LIGHT)
    assert near(pixels, STORED[scheme]) > 100
    assert near(pixels, COPIED[scheme]) > 100


def test_a_narrow_window_hides_nothing(tmp_path: Path) -> None:
    """On a telephone the page is one column: nothing reaches out of the right edge but the table, which scrolls."""
    pixels = seen(tmp_path, 40, LIGHT, width=500)

    margin = luminance(pixels[:1_700, -12:])
    assert margin.min() > 0.9
    assert near(pixels[:1_700], STORED[LIGHT]) > 100
