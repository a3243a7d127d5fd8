"""The report in a real browser: its sliders, boxes and curves, with made-up searches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from chromium import Page, browser, open_report
from search_runs import made_up_record, made_up_run

from search_space import presets
from search_space.grid import Grid
from uxnet_eval.report import write_report
from uxnet_eval.runs.files import write_json
from uxnet_eval.runs.overlays import Overlay, write_overlays

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as tab:
        tab.resize(1280)
        yield tab


@pytest.fixture(scope="module")
def report(page: Page, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of three made-up searches with four levels; one is not finished."""
    folder = tmp_path_factory.mktemp("report")
    for seed in range(3):
        made_up_run(folder / "runs" / f"seed-{seed}", levels=4, num_epochs=6, seed=seed, finished=seed < 2)
    return write_report(folder / "runs", folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of two folds of a training, with the scores of their cases."""
    folder = tmp_path_factory.mktemp("trainings")
    for fold in range(2):
        run = folder / "runs" / f"fold-{fold}"
        run.mkdir(parents=True)
        history = [
            {"epoch": e, "loss": 1 / e, "val_dice": 1 - 1 / e, "class_dice": {"organ": 1 - 1 / e}}
            for e in (2, 4, 8)
        ]
        write_json(run / "training.json", {"history": history})
        write_json(run / "result.json", {"default": 0.875, "architecture": "preset:unet", "fold": fold})
        presets.unet(4).save(run / "genotype.json")
        cases = [f"case_{fold}{c},organ,0.{8 + c % 2}{c},1.5,0.9,1000,{1000 + 10 * c}" for c in range(6)]
        header = "case_id,class,dice,hd95_mm,nsd,reference_volume_mm3,predicted_volume_mm3"
        (run / "cases.csv").write_text("\n".join([header, *cases]) + "\n")
        picture = np.zeros((80, 200, 3), dtype=np.uint8)
        overlays = [
            Overlay(f"case_{fold}{c}", rank, 0.8, picture) for c, rank in enumerate(("best", "worst"))
        ]
        write_overlays(run, overlays, ["background", "organ"], "fold")
    return write_report(folder / "runs", folder / "report.html").as_uri()


def roles(page: Page) -> list[str]:
    return page.run(
        "[...document.querySelectorAll('#drawing .edge')].map((each) => each.dataset.edge + each.dataset.role)"
    )


def test_sliders_change_the_picture_by_keyboard(page: Page, report: str) -> None:
    open_report(page, report)
    before, heat = roles(page), page.run("document.getElementById('weights').innerText")
    assert "seed-2: no final result yet" in page.run("document.body.innerText")
    page.run("document.getElementById('epoch').focus()")
    page.press("Home", 36)
    assert page.run("document.getElementById('epoch-text').value") == "1 of 6"
    first = roles(page)
    assert first != before  # all gates are 0.5 then: everything is cut and one path restored
    assert sum(role.endswith("restored") for role in first) >= 2
    assert "the widest one was restored" in page.run("document.getElementById('drawing-status').innerText")
    page.run("document.getElementById('tau').focus()")
    page.press("Home", 36)
    assert page.run("document.getElementById('tau-text').value") == "0.01"
    assert all(role.endswith("kept") for role in roles(page))
    page.press("ArrowRight", 39)
    assert page.run("document.getElementById('tau-text').value") == "0.02"
    assert heat == page.run("document.getElementById('weights').innerText")  # made up to stay the same
    assert page.errors == []


@pytest.mark.filterwarnings("ignore::strategies.pruning.RescueWarning")
def test_the_picture_agrees_with_the_genotype_for_every_threshold(page: Page, report: str) -> None:
    open_report(page, report)
    kept = "#drawing .edge[data-role=kept], #drawing .edge[data-role=restored]"
    for tau in (0.3, 0.75, 0.95):
        page.run(
            f"(() => {{ const s = document.getElementById('tau'); s.value = {tau}; s.dispatchEvent(new Event('input')); }})()"
        )
        drawn = page.run(f"[...document.querySelectorAll('{kept}')].map((each) => each.dataset.edge)")
        chosen = int(page.run("document.getElementById('run').value"))
        genotype = made_up_record(levels=4, num_epochs=6, seed=chosen).genotype(tau)
        assert sorted(drawn) == sorted(map(str, genotype.edges))
        nodes = page.run(
            "[...document.querySelectorAll('#drawing .node[data-live=true]')].map((each) => each.dataset.node)"
        )
        assert nodes == [str(node) for node in genotype.nodes]


def test_edges_are_chosen_by_box_and_by_click_and_searches_compared(page: Page, report: str) -> None:
    open_report(page, report)
    curves = "[...document.querySelectorAll('#gates path.curve')].map((each) => each.dataset.name)"
    before = page.run(curves)
    page.run(
        "document.querySelector('#gates input[value=\"N0.0-N0.3\"]').checked || document.querySelector('#gates input[value=\"N0.0-N0.3\"]').click()"
    )
    assert "N0.0-N0.3" in page.run(curves)
    dots = "[...document.querySelectorAll('#drawing .picked')].map((each) => each.dataset.edge)"
    assert page.run(dots) == page.run(curves)
    free = next(str(edge) for edge in Grid(4).edges if str(edge) not in page.run(curves))
    page.run(
        f"document.querySelector('#drawing .edge[data-edge=\"{free}\"] .target').dispatchEvent(new MouseEvent('click'))"
    )
    after = page.run(curves)
    assert free in after and set(before) <= set(after)
    page.run(
        "(() => { const s = document.getElementById('other'); s.selectedIndex = 1; s.dispatchEvent(new Event('change')); })()"
    )
    assert set(page.run(curves)) == {*after, *(f"{name} *" for name in after)}
    assert page.errors == []


def test_trainings_share_their_drawing_and_their_scores_open_by_a_click(page: Page, trainings: str) -> None:
    open_report(page, trainings)
    assert page.run("document.querySelectorAll('#training .network img').length") == 1
    assert page.run("document.querySelector('#training .network img').naturalWidth") > 300
    curves = "[...document.querySelectorAll('#training path.curve')].map((each) => each.dataset.name)"
    assert page.run(curves) == ["fold-0", "fold-1"] * 2
    points = "[...document.querySelectorAll('#scores > details')].map((each) => each.querySelectorAll('circle.point').length)"
    assert page.run(points) == [24, 0]  # three plots of six cases, and the volumes
    page.run("document.querySelectorAll('#scores > details > summary')[1].click()")
    page.settle()
    assert page.run(points) == [24, 24]
    assert page.run("document.querySelectorAll('.overlays img').length") == 4
    assert "preset:unet" in page.run("document.body.innerText")
    assert page.errors == []


@pytest.mark.parametrize("width", [1280, 3840])
@pytest.mark.parametrize("what", ["report", "trainings"])
def test_nothing_is_cut_off(page: Page, request: pytest.FixtureRequest, what: str, width: int) -> None:
    page.resize(width, 2000)
    try:
        open_report(page, request.getfixturevalue(what))
        assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
        outside = page.run(
            """[...document.querySelectorAll('svg text')].filter((each) => {
              const box = each.getBoundingClientRect(), frame = each.ownerSVGElement.getBoundingClientRect();
              return box.width && (box.left < frame.left - 2 || box.right > frame.right + 2 ||
                                   box.top < frame.top - 2 || box.bottom > frame.bottom + 2);
            }).map((each) => each.textContent)"""
        )
        assert outside == []
        overlapping = page.run(
            """[...document.querySelectorAll('#drawing .node')].flatMap((node) => {
              const boxes = [...node.querySelectorAll('text')].map((each) => [each.textContent, each.getBoundingClientRect()]);
              return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([b, q]) =>
                p.left < q.right && q.left < p.right && p.top + 2 < q.bottom && q.top + 2 < p.bottom).map(([b]) => a + ' / ' + b));
            })"""
        )
        assert overlapping == []
        if what == "trainings":
            return
        smallest = page.run(
            "Math.min(...[...document.querySelectorAll('#drawing text')].map((each) => each.getBoundingClientRect().height))"
        )
        assert smallest > 9  # pixels: still readable
    finally:
        page.resize(1280)


def test_controls_have_labels_and_pictures_descriptions(page: Page, report: str) -> None:
    open_report(page, report)
    unnamed = page.run(
        "[...document.querySelectorAll('input, select')].filter((each) => !each.labels.length).map((each) => each.outerHTML)"
    )
    assert unnamed == []
    assert page.run(
        "[...document.querySelectorAll('#page svg')].every((each) => each.getAttribute('aria-label'))"
    )
    assert page.run("document.documentElement.lang") == "en"


def test_the_ways_to_other_tools_are_listed(page: Page, trainings: str) -> None:
    page.open(trainings)
    commands = page.run("[...document.querySelectorAll('#elsewhere code')].map((code) => code.textContent)")
    assert len(commands) == 5 and all(command.startswith("uxnet ") for command in commands)
    assert "fold-0/best.pt --format onnx" in commands[1]  # of equal ones the first
