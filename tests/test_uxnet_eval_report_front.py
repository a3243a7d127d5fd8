"""The front in the report: which points it holds, and the page in a real browser."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from chromium import browser, open_report

from search_space import SearchSpaceConfig
from strategies.single_path.sampling import Sampler
from uxnet_eval.report import write_report
from uxnet_eval.report.front_run import read_front
from uxnet_eval.report.sources import folder_source
from uxnet_eval.runs.front_record import FrontRecord, Measured

SAMPLER = Sampler(SearchSpaceConfig(levels=3, base_channels=4, width_choices=(0.5, 1.0)))
POINTS = [(10, 0.70), (20, 0.65), (30, 0.80)]  # the second is beaten by the first


def write_front(folder: Path, *, is_finished: bool = True) -> Path:
    folder.mkdir(parents=True)
    measured = [
        Measured(
            genotype=SAMPLER.draw(Random(index)).to_dict(),
            budget_share=1.0,
            inherited_dice=0.1,
            finetuned_dice=dice,
            parameters=100 + index,
            multiply_adds=cost * 10**8,
        )
        for index, (cost, dice) in enumerate(POINTS)
    ]
    FrontRecord(is_finished=is_finished, multiply_adds=3e9, measured=measured).save(folder)
    (folder / "run.yml").write_text("search: {}\n")
    return folder


def test_points_and_the_best_among_them(tmp_path: Path) -> None:
    notes: list[str] = []
    front = read_front(write_front(tmp_path / "run"), "run", notes)
    assert front is not None
    assert [(point["multiplyAdds"], point["dice"]) for point in front["points"]] == [
        (cost * 10**8, dice) for cost, dice in POINTS
    ]
    assert [point["isBest"] for point in front["points"]] == [True, False, True]
    assert front["measure"] == "Dice after a short training"
    assert notes == []


def test_a_damaged_front_is_noted(tmp_path: Path) -> None:
    folder = write_front(tmp_path / "runs" / "damaged")
    write_front(tmp_path / "runs" / "sound")
    (folder / "front.json").write_text("{")
    found = folder_source(tmp_path / "runs")
    assert [front["name"] for front in found.fronts] == ["sound"]
    (note,) = found.notes
    assert note.startswith("damaged: ")
    assert "not JSON" in note


def test_random_networks_show_what_a_high_dice_goes_with(tmp_path: Path) -> None:
    folder = write_front(tmp_path / "run")
    settings = "search: {strategy: regression}\nchoice: {population: 12}\n"
    (folder / "run.yml").write_text(settings)
    front = read_front(folder, "run", [])
    assert front is not None
    assert front["effects"] == []  # of three networks
    record = FrontRecord.load(folder)
    record.measured = [
        record.measured[0].model_copy(
            update={
                "genotype": (drawn := SAMPLER.draw(Random(number))).to_dict(),
                "finetuned_dice": 0.5 + 0.1 * (drawn.widths or ())[2] if number < 12 else 0.1,
            }
        )
        for number in range(20)
    ]
    record.save(folder)
    front = read_front(folder, "run", [])
    assert front is not None
    assert front["effects"][0]["choice"] == "width of level 2"
    assert front["effects"][0]["correlation"] == pytest.approx(1)  # of the first 12 alone
    assert front["effects"][0]["networks"] == 12
    (folder / "run.yml").write_text(settings.replace("regression", "rl"))
    front = read_front(folder, "run", [])
    assert front is not None
    assert front["effects"] == []


@pytest.mark.browser
def test_the_page_draws_every_point_and_lists_the_best(tmp_path: Path) -> None:
    write_front(tmp_path / "run", is_finished=False)
    address = write_report(tmp_path / "run", tmp_path / "report.html").as_uri()
    with browser() as page:
        page.resize(1280)
        open_report(page, address)
        assert page.run("document.querySelectorAll('#front circle').length") == 3
        assert page.run("document.querySelectorAll('#front tbody tr').length") == 2
        places = "[...document.querySelectorAll('#front circle')].map(x => +x.getAttribute('cx'))"
        first, *_, last = page.run(places)
        width = page.run("document.querySelector('#front svg').getBoundingClientRect().width")
        assert last - first > 0.8 * width  # no empty half
        assert "not finished" in page.run("document.querySelector('#front').textContent")
