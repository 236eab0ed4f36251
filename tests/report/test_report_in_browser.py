"""The page in a real browser. Skipped where there is no Chromium."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limbeck.report import render_report

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(html: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def ensemble_address(ensemble_example: dict[str, Any], tmp_path: Path) -> str:
    path = tmp_path / "report.html"
    path.write_text(render_report(**ensemble_example), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def hostile_address(example: dict[str, Any], tmp_path: Path) -> str:
    example["results"]["models"][1]["name"] = "</script><img src=x onerror=alert(1)>" * 3
    path = tmp_path / "report.html"
    path.write_text(render_report(**example), encoding="utf-8")
    return path.as_uri()


def opened(browser: Any, address: str, width: int = 1280, **options: Any) -> tuple[Any, list[str]]:
    """A page, and a list of whatever went wrong in it or was asked of the network."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (wrong.append("dialog"), dialog.dismiss()))

    def asked(request: Any) -> None:
        if request.url != address and not request.url.startswith("data:"):
            wrong.append(f"request: {request.url}")

    page.on("request", asked)
    page.goto(address)
    return page, wrong


def brightness(page: Any, selector: str, part: str) -> float:
    colour = page.eval_on_selector(selector, f"element => getComputedStyle(element).{part}")
    return sum(float(value) for value in colour.split("(")[1].rstrip(")").split(",")[:3]) / (3 * 255)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_without_errors_or_requests(browser: Any, address: str, scheme: str) -> None:
    page, wrong = opened(browser, address, color_scheme=scheme)
    assert page.locator("h1").is_visible()
    assert "distilling helps" in page.locator("h1").inner_text()
    paper, ink = brightness(page, "body", "backgroundColor"), brightness(page, "h1", "color")
    drawn = brightness(page, "svg[role=img] text", "fill")
    assert (paper > 0.9 > 0.5 > ink) if scheme == "light" else (paper < 0.2 < 0.7 < ink)
    assert abs(drawn - paper) > 0.4
    assert page.locator(".cases img").count() > 0
    assert page.eval_on_selector_all(".cases img", "all => all.every(image => image.naturalWidth === 8)")
    assert wrong == []


def test_the_switch_turns_light_into_dark_and_back(browser: Any, address: str) -> None:
    page, wrong = opened(browser, address, color_scheme="light")
    page.click("#theme")
    assert brightness(page, "body", "backgroundColor") < 0.2
    page.click("#theme")
    assert brightness(page, "body", "backgroundColor") > 0.9
    assert wrong == []


def test_the_table_can_be_sorted_and_nulls_stay_last(browser: Any, address: str) -> None:
    page, wrong = opened(browser, address)

    def column(number: int) -> list[str]:
        return page.eval_on_selector_all("#models tbody tr", f"rows => rows.map(row => row.cells[{number}].innerText)")

    before = column(2)
    button = page.locator("#models thead button", has_text="Errors")
    button.click()
    assert column(2) == sorted(before, key=int)
    assert page.locator("#models [aria-sort=ascending]").count() == 1
    button.click()
    assert column(2) == sorted(before, key=int, reverse=True)
    button.click()
    assert column(2) == before
    page.locator("#models thead button", has_text="Gap").click()
    assert column(6)[2:] == ["–", "–"]
    assert wrong == []


def test_hostile_names_do_nothing_and_do_not_widen_the_page(browser: Any, hostile_address: str) -> None:
    page, wrong = opened(browser, hostile_address, width=390)
    assert "<img src=x" in page.locator("h1").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert wrong == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_no_wider_than_its_window(browser: Any, address: str, width: int) -> None:
    page, wrong = opened(browser, address, width=width)
    page.eval_on_selector_all("details", "all => all.forEach(details => { details.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("h1").bounding_box()["x"] >= 0
    assert wrong == []


def test_the_page_reads_without_scripts(browser: Any, address: str) -> None:
    page, wrong = opened(browser, address, java_script_enabled=False)
    assert page.locator("h1").is_visible()
    assert page.locator("#models tbody tr").count() == 4
    assert page.locator("#models thead").get_by_text("Errors", exact=True).is_visible()
    assert not page.locator("#theme").is_visible()
    assert wrong == []


def test_on_paper_the_headings_stay_and_the_buttons_go(browser: Any, address: str) -> None:
    page, wrong = opened(browser, address, width=700, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator("#models thead").get_by_text("Errors", exact=True).is_visible()
    assert not page.locator("#theme").is_visible()
    assert brightness(page, "body", "backgroundColor") > 0.9
    assert page.evaluate("document.documentElement.scrollWidth") == 700
    assert wrong == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_a_page_with_an_ensemble_fits_its_window_and_reads_without_scripts(
    browser: Any, ensemble_address: str, width: int, scheme: str
) -> None:
    page, wrong = opened(browser, ensemble_address, width=width, color_scheme=scheme, java_script_enabled=False)
    assert page.get_by_role("heading", name="The ensemble and its members").is_visible()
    assert page.get_by_role("heading", name="Where the members disagree").is_visible()
    assert page.locator(".parts figure").count() == 3
    assert page.locator("html").evaluate("element => element.scrollWidth") == width
    assert wrong == []
