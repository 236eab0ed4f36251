"""The page in a real browser. Skipped where there is no Chromium."""

import dataclasses
import shutil

import numpy as np
import pytest

from limbeck.data import load_dataset
from limbeck.trees import TreeArrays, prune, render_page

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
HOSTILE = '</script><img src=x onerror="alert(1)">\'&'
ALL = "Array.from({length: %d}, (_, i) => { tree.choose(i); return %s; })"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def mnist():
    """Images, labels, and a function that makes random trees for them."""
    test = load_dataset("mnist").test
    inputs, labels = test.inputs[:200], test.labels[:200]

    def make(depth, predict="path", **more):
        random = np.random.default_rng(depth)
        inner = 2**depth - 1
        weights = random.normal(size=(inner, 784)) / 1500
        # Thresholds in the middle of the data: so inputs part ways.
        bias = -np.median(inputs.reshape(200, -1) @ weights.T, axis=0)
        probabilities = random.dirichlet(np.full(10, 0.3), inner + 1) + 1e-4
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        reached = np.ones(2 * inner + 1)
        for node in range(inner):
            reached[2 * node + 1], reached[2 * node + 2] = 0.6 * reached[node], 0.4 * reached[node]
        return TreeArrays.complete(
            weights, bias, np.log(probabilities), (28, 28), "0123456789", predict=predict, reached=reached, **more
        )

    return inputs, labels, make


@pytest.fixture
def opened(browser, tmp_path):
    """A function: the page of a tree, and a list of whatever went wrong in it or was asked of the network."""
    contexts = []

    def make(*arguments, width=1280, height=900, features=None, name="tree", **options):
        path = tmp_path / "tree.html"
        path.write_text(render_page(*arguments, name=name, features=features), encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        wrong = []
        page.on("console", lambda message: wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (wrong.append("dialog"), dialog.dismiss()))

        def asked(request):
            if request.url != path.as_uri() and not request.url.startswith("data:"):
                wrong.append(f"request: {request.url}")

        page.on("request", asked)
        page.goto(path.as_uri())
        return page, wrong

    yield make
    for context in contexts:
        context.close()


def paths(tree, inputs):
    return [tree.path_to(int(leaf)) for leaf in tree.leaf_of(inputs)]


def shown(page):
    return page.locator("#view [data-node]").count()


@pytest.mark.parametrize("depth", [4, 8])
@pytest.mark.parametrize("predict", ["path", "greedy", "average"])
def test_the_page_walks_every_input_down_the_path_that_python_walks(opened, mnist, depth, predict):
    inputs, labels, make = mnist
    tree = make(depth, predict)
    page, wrong = opened(tree, inputs, 7, labels)
    rows = np.arange(7, 67)
    found = page.evaluate(ALL % (60, "[tree.path, tree.class, tree.probabilities]"))
    walked, said, probabilities = zip(*found, strict=True)
    assert list(walked) == paths(tree, inputs[rows])
    log_probs = tree.predict_log_probs(inputs[rows])
    assert list(said) == log_probs.argmax(axis=1).tolist()
    assert np.allclose(probabilities, np.exp(log_probs), atol=1e-4)
    assert len(set(map(tuple, paths(tree, inputs[rows])))) > 3
    marks = page.locator("#strip .wrong").count()
    assert marks == (log_probs.argmax(axis=1) != labels[rows]).sum()
    assert wrong == []


def test_an_average_sharpens_as_the_tree_does(opened, mnist):
    inputs, labels, make = mnist
    tree = make(4, "average", sharpness=2.5)
    page, wrong = opened(tree, inputs, 0, labels)
    found = page.evaluate(ALL % (60, "tree.probabilities"))
    assert np.allclose(found, np.exp(tree.predict_log_probs(inputs[:60])), atol=1e-4)
    assert "to the power 2.5" in page.inner_text("#answer")
    assert "no single path explains the answer fully" in page.inner_text("#answer")
    assert wrong == []


def test_a_tree_of_depth_4_is_shown_whole(opened, mnist):
    inputs, labels, make = mnist
    page, wrong = opened(make(4), inputs, 0, labels)
    assert shown(page) == 31
    stage = page.locator("#stage").bounding_box()
    for box in (page.locator(f"[data-node='{node}']").bounding_box() for node in (0, 15, 30)):
        assert stage["x"] <= box["x"] <= box["x"] + box["width"] <= stage["x"] + stage["width"]
        assert stage["y"] <= box["y"] <= box["y"] + box["height"] <= stage["y"] + stage["height"]
    assert wrong == []


def test_choosing_another_input_changes_the_path_and_what_is_read(opened, mnist):
    inputs, labels, make = mnist
    tree = make(4)
    expected = paths(tree, inputs[:60])
    other = next(i for i, path in enumerate(expected) if path[-1] != expected[0][-1])
    page, wrong = opened(tree, inputs, 0, labels)
    read = page.inner_text("#turns")
    page.locator("#strip button").nth(other).click()
    assert page.evaluate("tree.path") == expected[other]
    assert page.inner_text("#turns") != read
    assert page.locator(".leaf.on-path").get_attribute("data-node") == str(expected[other][-1])
    page.keyboard.press("ArrowRight")
    assert page.evaluate("tree.path") == expected[other + 1]
    assert wrong == []


def test_the_panel_says_each_turn_and_its_probability(opened, mnist):
    inputs, labels, make = mnist
    tree = make(4)
    page, wrong = opened(tree, inputs, 0, labels)
    path = paths(tree, inputs[:1])[0]
    scores = tree.scores(inputs[:1])[0]
    turns = page.locator("#turns .turn").all_inner_texts()
    for turn, node, child in zip(turns, path, path[1:], strict=False):
        rightward = child == tree.right[node]
        score = scores[tree.question[node]] if rightward else -scores[tree.question[node]]
        assert turn == f"{'right' if rightward else 'left'} {1 / (1 + np.exp(-score)):.0%}"
    assert len(turns) == 4
    assert wrong == []


def test_a_turn_below_one_half_on_the_most_probable_path_is_said(opened):
    # Right with 60%, and then at most 0.6 · 0.5; left with 40%, and then all of it.
    tree = TreeArrays.complete(
        np.zeros((3, 2)), [np.log(0.6 / 0.4), 30, 0], np.log(np.full((4, 2), 0.5)), (2,), ["a", "b"]
    )
    page, wrong = opened(tree, np.zeros((1, 2)), 0)
    assert page.evaluate("tree.path") == tree.path_to(4)
    assert "The other turn is likelier" in page.inner_text("#turns")
    assert "below one half" in page.inner_text("#answer")
    assert wrong == []


def test_subtrees_unfold_and_fold_and_the_path_stays_unfolded(opened, mnist):
    inputs, labels, make = mnist
    tree = make(8)
    page, wrong = opened(tree, inputs, 0, labels)
    first = shown(page)
    path = paths(tree, inputs[:1])[0]
    assert first == 15 + 2 * 5
    assert page.locator(".on-path").count() == 9
    folded = next(node for node in range(7, 15) if node not in path)
    node = page.locator(f"[data-node='{folded}']")
    assert "32 leaves" in node.text_content()
    node.click()
    assert shown(page) == first + 2
    assert page.locator(f"[data-node='{folded}']").get_attribute("aria-expanded") == "true"
    page.keyboard.press("Enter")
    assert shown(page) == first
    page.locator(f"[data-node='{path[2]}']").click()
    assert shown(page) == first
    for _ in range(5):
        page.click("#more")
    assert shown(page) == 511
    for _ in range(8):
        page.click("#fewer")
    assert shown(page) == 1 + 2 * 8
    assert wrong == []


def test_the_tree_zooms_and_moves_by_wheel_mouse_buttons_and_keys(opened, mnist):
    inputs, labels, make = mnist
    page, wrong = opened(make(8), inputs, 0, labels)

    def view():
        return page.get_attribute("#view", "transform")

    before = view()
    page.mouse.move(300, 500)
    page.mouse.wheel(0, -300)
    sync_api.expect(page.locator("#view")).not_to_have_attribute("transform", before)
    zoomed = view()
    page.mouse.down()
    page.mouse.move(360, 520, steps=4)
    page.mouse.up()
    assert view() not in (zoomed, before)
    page.click("#fit")
    assert view() == before
    page.click("#in")
    assert view() != before
    page.focus("#tree")
    page.keyboard.press("0")
    assert view() == before
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowLeft")
    assert view() != before
    assert wrong == []


def test_keys_move_from_question_to_question_and_say_where(opened, mnist):
    inputs, labels, make = mnist
    tree = make(4)
    page, wrong = opened(tree, inputs, 0, labels)
    path = paths(tree, inputs[:1])[0]
    page.focus("#tree")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    active = "document.activeElement.getAttribute('%s')"
    assert page.evaluate(active % "data-node") == str(path[1])
    assert page.evaluate(active % "aria-label").startswith("Question on level 2, ")
    assert page.locator("#tip").is_visible()
    page.keyboard.press("ArrowUp")
    assert page.evaluate(active % "data-node") == "0"
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()
    assert wrong == []


def test_a_leaf_that_is_pointed_at_shows_its_distribution(opened, mnist):
    inputs, labels, make = mnist
    page, wrong = opened(make(4), inputs, 0, labels)
    page.hover(".leaf.on-path")
    assert page.locator("#tip .bars li").count() == 10
    assert wrong == []


def stroke(page, points):
    box = page.locator("#pad").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


SEEN = """() => {
  const seen = document.getElementById("seen");
  const { data } = seen.getContext("2d").getImageData(0, 0, seen.width, seen.height);
  return Array.from({ length: seen.width * seen.height }, (_, i) => data[4 * i]);
}"""


@pytest.mark.parametrize("corner", [(0.05, 0.1), (0.6, 0.55)])
def test_a_drawing_is_fitted_as_mnist_is_and_falls_down_the_tree(opened, mnist, corner):
    inputs, labels, make = mnist
    tree = make(8)
    page, wrong = opened(tree, inputs, 0, labels)
    x, y = corner
    stroke(page, [(x, y), (x + 0.3, y), (x + 0.1, y + 0.35)])
    sync_api.expect(page.locator("#answer")).to_contain_text("your drawing")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    seen = np.array(page.evaluate(SEEN), dtype=np.uint8).reshape(28, 28)
    rows, columns = np.nonzero(seen > 20)
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
    centre = [(seen * (axis + 0.5)).sum() / seen.sum() for axis in np.indices((28, 28))]
    assert centre == pytest.approx([14, 14], abs=0.3)
    assert page.evaluate("tree.path") == paths(tree, seen[None])[0]
    assert page.locator("#strip [aria-checked=true]").count() == 0
    page.click("#clear")
    assert page.evaluate("tree.path") == paths(tree, inputs[:1])[0]
    assert wrong == []


def test_pixels_handed_over_are_answered_as_in_python(opened, mnist):
    inputs, labels, make = mnist
    tree = make(4)
    page, wrong = opened(tree, inputs, 0, labels)
    for row in (100, 150):
        page.evaluate("pixels => tree.draw(pixels)", inputs[row].ravel().tolist())
        assert page.evaluate("tree.path") == paths(tree, inputs[row : row + 1])[0]
    assert page.evaluate(SEEN) == inputs[150].ravel().tolist()
    assert wrong == []


def test_a_finger_draws_too(opened, digits, random_tree):
    page, wrong = opened(random_tree(3, (8, 8), 10), digits.inputs, 0, width=390, has_touch=True)
    page.locator("#pad").scroll_into_view_if_needed()
    page.locator("#pad").tap()
    sync_api.expect(page.locator("#answer")).to_contain_text("your drawing")
    assert wrong == []


@pytest.mark.parametrize("predict", ["path", "greedy", "average"])
def test_a_table_shows_the_features_that_weigh_most_by_name(opened, random_tree, predict):
    random = np.random.default_rng(1)
    inputs = 3 * random.normal(size=(40, 6)).astype(np.float32)
    names = ["age", "height", "a name that is very long indeed", HOSTILE, "weight", "pulse"]
    tree = random_tree(4, (6,), 3, scale=3.0, spread=np.full(6, 2.0), predict=predict)
    page, wrong = opened(tree, inputs, 5, random.integers(-1, 3, 40), features=names)
    rows = (5 + np.arange(40)) % 40
    assert page.evaluate(ALL % (40, "tree.path")) == paths(tree, inputs[rows])
    amounts = np.abs(tree.weights[0] * tree.spread)
    top = names[int(amounts.argmax())]
    assert page.locator("[data-node='0'] .feature").first.text_content()[:9] == top[:9]
    assert page.locator("#pad, #seen").count() == 0
    assert page.locator("#turns .because").count() == 4
    assert wrong == []


@pytest.mark.parametrize("predict", ["path", "greedy", "average"])
def test_a_single_leaf_says_that_it_asks_nothing(opened, single_leaf, predict):
    page, wrong = opened(single_leaf((4, 4), predict), np.zeros((2, 4, 4), np.uint8), 0)
    assert page.evaluate("[tree.path, tree.class]") == [[0], 1]
    assert "asks nothing" in page.inner_text("#answer")
    assert shown(page) == 1
    assert wrong == []


def test_a_pruned_tree_is_walked_as_in_python(opened, mnist):
    inputs, labels, make = mnist
    tree = prune(make(6), inputs, reach=0.02).tree
    assert tree.leaves < 64
    page, wrong = opened(tree, inputs, 0, labels)
    assert page.evaluate(ALL % (60, "tree.path")) == paths(tree, inputs[:60])
    assert wrong == []


def test_colour_images_have_pictures_but_no_drawing(opened, random_tree):
    random = np.random.default_rng(2)
    inputs = random.integers(0, 256, (20, 6, 5, 3)).astype(np.uint8)
    tree = random_tree(3, (6, 5, 3), scale=0.01)
    page, wrong = opened(tree, inputs, 0)
    assert page.evaluate(ALL % (20, "tree.path")) == paths(tree, inputs)
    assert page.locator(".question image").count() == 7
    assert page.locator("#pad").count() == 0
    assert wrong == []


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_and_long_names_do_nothing_and_do_not_widen_the_page(opened, random_tree, digits, width):
    tree = random_tree(4, (8, 8), 10)
    tree = dataclasses.replace(tree, classes=(HOSTILE * 4, *(f"class with a long name {i}" for i in range(9))))
    page, wrong = opened(tree, digits.inputs, 0, digits.labels, name=HOSTILE * 3, width=width)
    for index in range(0, 60, 7):
        page.evaluate(f"tree.choose({index})")
        assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("img").count() == 0
    assert page.locator("#bars .who").first.get_attribute("title") == HOSTILE * 4
    assert wrong == []


def test_a_telephone_shows_the_path_and_can_unfold_the_rest(opened, mnist):
    inputs, labels, make = mnist
    page, wrong = opened(make(8), inputs, 0, labels, width=390, height=844, has_touch=True)
    assert page.locator(".on-path").count() == 9
    box = page.locator(".leaf.on-path").bounding_box()
    assert box["width"] > 18
    assert 0 <= box["x"] <= 390 - box["width"]
    page.tap("#more")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_light_and_dark_and_can_be_switched(opened, random_tree, digits, scheme):
    page, wrong = opened(random_tree(2, (8, 8), 10), digits.inputs, 0, color_scheme=scheme)

    def is_dark():
        colour = page.eval_on_selector("body", "element => getComputedStyle(element).backgroundColor")
        return sum(map(int, colour[4:-1].split(","))) < 200

    question = page.get_attribute("[data-node='0'] image", "href")
    assert is_dark() == (scheme == "dark")
    page.click("#theme")
    assert is_dark() == (scheme == "light")
    assert page.get_attribute("[data-node='0'] image", "href") != question
    assert wrong == []
