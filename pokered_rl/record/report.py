"""Write a self-contained HTML page about a run, which is read without server, network or other files."""

from __future__ import annotations

import base64
import html
import io
import json
import multiprocessing
import os
import platform
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template

import av
from matplotlib.figure import Figure
from matplotlib.image import imsave

from pokered_rl.atomic import write_atomically
from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EPISODE_FOLDER, EpisodeLog, cartridge_for, find_logs
from pokered_rl.episodes.header import Acted
from pokered_rl.episodes.timeline import split_played_again
from pokered_rl.errors import EpisodeLogError, PokeredError
from pokered_rl.plain_text import printable
from pokered_rl.record.batch import load_logs
from pokered_rl.record.charts import Chart, metrics_charts, returns_chart
from pokered_rl.record.curves import (
    episode_points,
    learning_curve,
    milestone_figure,
    milestone_steps,
    reward_stack_figure,
)
from pokered_rl.record.maps import affordance_figure, background_picture, has_place, map_title, world_figure
from pokered_rl.record.render import RenderOptions, render_episode
from pokered_rl.record.survey import EpisodeTrace, MapSurvey, trace
from pokered_rl.record.video import CONSOLE_FRAME_RATE
from pokered_rl.resources import available_cpus

__all__ = ["ReportResult", "write_report"]

_PACKAGES = ("pokered_rl", "torch", "torchrl", "tensordict", "pyboy", "numpy", "av")
_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?%?")
#: Episodes listed in the table: the page must stay small.
_MAX_ROWS = 400


@dataclass(frozen=True, kw_only=True)
class ReportResult:
    """Result of :func:`write_report`."""

    #: The page.
    path: Path
    #: Number of logs that were replayed, all with equal RAM hashes.
    replayed: int
    #: One message for each log that could not be read or replayed.
    errors: tuple[str, ...]


def write_report(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    cartridge: Cartridge | None = None,
    seeds: Sequence[str | os.PathLike[str]] = (),
    most_replays: int = 40,
    videos: RenderOptions | None = None,
    workers: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> ReportResult:
    """Write the page.

    Args:
        run: The run folder.
        out: The HTML file.
        cartridge: The cartridge that was played; found by default.
        seeds: Run folders of the same experiment with other seeds: the learning curve then shows the mean over all of
            them with its 95% interval, and the timeline each run.
        most_replays: Most episodes that are replayed for maps, statistics and verification: the best, the last, and
            others spread evenly over the run.
        videos: How the embedded videos look; every eighth frame at four times the speed by default.
        workers: Processes that replay; by default one for each core.
        on_progress: Called with the name of the activity, the number of logs done and their total.

    Raises:
        EpisodeLogError: There is no log that can be replayed.
    """
    run = Path(run)
    report = on_progress or (lambda _what, _done, _total: None)
    logs, again, errors = _read_logs(run)
    if not logs:
        raise EpisodeLogError(f"{run}: none of its {len(errors)} episode logs can be read; the first: {errors[0]}")
    found = [(run, logs), *_logs_of(seeds, errors)]
    label, *other_labels = _run_labels(found)
    others = dict(zip(other_labels, (each for _, each in found[1:]), strict=True))
    traces, survey = _replay(_spread(logs, most_replays), cartridge, workers, errors, report)
    if survey is None:
        raise EpisodeLogError(f"{run}: none of its episodes can be replayed; the first: {errors[0]}")
    cartridge = cartridge if cartridge is not None else cartridge_for(traces[0].log)
    replayed = [traced.log for traced in traces]
    options = videos or RenderOptions(fps=30, speed=4)
    clips = _clips(replayed, cartridge, options, report)
    page = Template(resources.files("pokered_rl.record").joinpath("report.html").read_text("utf-8")).substitute(
        title=html.escape(f"{_name(run, logs)}: report"),
        heading=html.escape(_name(run, logs)),
        subtitle=html.escape(_subtitle(logs) + _given_logs(run)),
        cards=_cards(logs, survey, replayed, errors, again),
        problems=_problems(errors),
        curves=_curves(logs),
        draw=resources.files("pokered_rl.record").joinpath("draw.js").read_text("utf-8"),
        maps_note=html.escape(_maps_note(logs, replayed)),
        milestones=_milestones(label, logs, others),
        videos=clips,
        affordances=_affordances(traces, survey),
        episodes_note=html.escape(_episodes_note(logs, again)),
        episodes=_episode_table([*logs, *again], {id(log) for log in replayed}, {id(log) for log in again}),
        world=_world(survey),
        config=html.escape(_read(run / "config.yaml")),
        progress=html.escape(_read(run / "progress.json")),
        environment=_environment(run, logs),
        data=_page_data(survey, _charts(run, label, logs, others, cartridge.profile.milestones.names)),
    )
    return ReportResult(
        path=write_atomically(Path(out), printable(page).encode()), replayed=len(replayed), errors=tuple(errors)
    )


def _spread(logs: Sequence[EpisodeLog], most: int) -> list[EpisodeLog]:
    """Return the best, the last and others evenly, in order."""
    if len(logs) <= most:
        return list(logs)
    best = max(range(len(logs)), key=lambda index: logs[index].episode_return)
    even = [round(index * (len(logs) - 1) / max(1, most - 2)) for index in range(most - 1)]
    chosen = list(dict.fromkeys([best, len(logs) - 1, *even]))
    return [logs[index] for index in sorted(chosen[: max(2, most)])]


def _read_logs(run: str | os.PathLike[str]) -> tuple[list[EpisodeLog], list[EpisodeLog], list[str]]:
    """Return the logs that count, those of steps that were played again after a crash, and a message a bad log."""
    read, errors = load_logs(find_logs([run]))
    logs, again = split_played_again(read)
    return (logs, again, errors) if logs else (again, [], errors)


def _logs_of(folders: Sequence[str | os.PathLike[str]], errors: list[str]) -> Iterator[tuple[Path, list[EpisodeLog]]]:
    """Yield the readable logs of each folder; add the message of each bad one to ``errors``."""
    for folder in folders:
        logs, _, bad = _read_logs(folder)
        errors += bad
        if logs:
            yield Path(folder), logs


def _replay(
    logs: Sequence[EpisodeLog],
    cartridge: Cartridge | None,
    workers: int | None,
    errors: list[str],
    report: Callable[[str, int, int], None],
) -> tuple[list[EpisodeTrace], MapSurvey | None]:
    """Replay logs in several processes; return their traces, without screens, and the survey of all of them."""
    # A process takes a second or two to start, as long as about four replays.
    workers = workers or min(available_cpus(), len(logs) // 4)
    play = partial(_replay_one, cartridge=cartridge)
    traces: list[EpisodeTrace] = []
    survey: MapSurvey | None = None
    with ExitStack() as stack:
        results: Iterable[tuple[EpisodeTrace, MapSurvey] | str]
        if workers <= 1:
            results = map(play, logs)
        else:
            pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
            stack.callback(pool.shutdown, cancel_futures=True)
            results = pool.map(play, logs)
        for number, result in enumerate(results):
            report("replaying", number + 1, len(logs))
            if isinstance(result, str):
                errors.append(result)
                continue
            traces.append(result[0])
            if survey is None:
                survey = result[1]
            else:
                survey.merge(result[1])
    return traces, survey


def _replay_one(log: EpisodeLog, *, cartridge: Cartridge | None) -> tuple[EpisodeTrace, MapSurvey] | str:
    """Return trace and survey of an episode, or the error of its log."""
    try:
        cartridge = cartridge if cartridge is not None else cartridge_for(log)
        traced = trace(log, cartridge=cartridge, screens=True)
    except PokeredError as error:
        return str(error)
    survey = MapSurvey(maps=cartridge.profile.maps)
    survey.add(traced)
    return replace(traced, screens=None), survey


def _name(run: Path, logs: Sequence[EpisodeLog]) -> str:
    return logs[-1].header.run_name or run.name


def _run_labels(runs: Sequence[tuple[Path, Sequence[EpisodeLog]]]) -> list[str]:
    """Return distinct labels of runs: the names of their folders, the whole paths where these are the same."""
    names = [run.resolve().name or _name(run, logs) for run, logs in runs]
    return [name if names.count(name) == 1 else str(run.resolve()) for name, (run, _) in zip(names, runs, strict=True)]


def _subtitle(logs: Sequence[EpisodeLog]) -> str:
    first, last = logs[0].header, logs[-1]
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(first.start_unix_seconds))
    minutes = max(0.0, last.end_unix_seconds - first.start_unix_seconds) / 60
    lasted = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
    return f"{first.cartridge_title}, begun {when} UTC, {lasted} up to the last finished episode"


def _given_logs(run: Path) -> str:
    """Say what logs the run was given to learn from."""
    given = ""
    for name in ("demonstrations/demonstrations.json", "curriculum/from_logs.json"):
        try:
            given += f"; given to it: {json.loads((run / name).read_text())['text']}"
        except (OSError, ValueError, KeyError, TypeError):
            continue  # none were
    return given


def _cards(
    logs: Sequence[EpisodeLog],
    survey: MapSurvey,
    replayed: Sequence[EpisodeLog],
    errors: Sequence[str],
    again: Sequence[EpisodeLog],
) -> str:
    steps = max(log.header.global_step + log.steps for log in logs)
    frames = sum(log.frames for log in logs)
    verdict = f'<b class="good">{len(replayed)}</b>' if not errors else f'<b class="bad">{len(replayed)}</b>'
    note = "replayed, all RAM hashes equal" if not errors else f"replayed, {len(errors)} logs are bad"
    cards = [
        (f"<b>{steps:,}</b>", "agent steps"),
        (f"<b>{len(logs):,}</b>", "episodes"),
        (f"<b>{float(frames / CONSOLE_FRAME_RATE) / 3600:,.1f} h</b>", "of game time logged"),
        (f"<b>{max(log.episode_return for log in logs):,.2f}</b>", "best return"),
        (f"<b>{sum(log.episode_return for log in logs[-20:]) / len(logs[-20:]):,.2f}</b>", "mean of the last 20"),
        (f"<b>{len(survey.map_ids)}</b>", "maps seen"),
        (f"<b>{len(survey.visits):,}</b>", "map steps seen"),
        (verdict, note),
    ]
    if again:
        cards.append((f"<b>{len(again):,}</b>", "further logs of steps that were played again, counted nowhere"))
    return "".join(f'<div class="card">{value}<span>{label}</span></div>' for value, label in cards)


def _problems(errors: Sequence[str]) -> str:
    if not errors:
        return ""
    items = "".join(f"<li>{html.escape(error)}</li>" for error in errors[:20])
    more = f"<li>and {len(errors) - 20} more</li>" if len(errors) > 20 else ""
    return f'<h2 class="bad">Logs that could not be used</h2><ul class="dim">{items}{more}</ul>'


def _svg(figure: Figure, caption: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue()
    return f"<figure>{drawing[drawing.index('<svg') :]}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _curves(logs: Sequence[EpisodeLog]) -> str:
    return _svg(reward_stack_figure(logs), "Composition of the return.") + _helpers(logs)


def _charts(
    run: Path, name: str, logs: Sequence[EpisodeLog], others: Mapping[str, Sequence[EpisodeLog]], story: Sequence[str]
) -> list[Chart]:
    """Return the charts that the page's script draws: the return of the episodes, then the run's metrics."""
    seeds = [logs, *others.values()]
    band = "95 % interval" if others else "middle half"
    title = f"return, mean over {len(seeds)} runs ({band}): {name}, {', '.join(others)}" if others else "return"
    steps, returns = episode_points(logs)
    points = None if others else (steps.tolist(), returns.tolist())
    charts = [returns_chart(title, learning_curve(seeds), points)]
    for chart in metrics_charts(run, milestones=story):
        if chart["title"] == "return":  # the logs have the curve of training: evaluation and random policy are added
            charts[0]["series"] += [each for each in chart["series"] if each["name"] == "evaluation"]
            charts[0]["lines"] = chart["lines"]
        else:
            charts.append(chart)
    return charts


def _helpers(logs: Sequence[EpisodeLog]) -> str:
    rows = helper_rewards(logs)
    if not rows:
        return ""
    texts = [(who, f"{steps:,}", f"{reward:,.2f}") for who, steps, reward in rows]
    return _table(("button left by", "steps", "reward of these steps"), texts)


def helper_rewards(logs: Sequence[EpisodeLog]) -> list[tuple[str, int, float]]:
    """Return name, steps and rewards of each helper that was on, and of the agent; nothing where none was on."""
    names = sorted({name for log in logs for name in log.header.helpers})
    found = {name: (0, 0.0) for name in (*names, "agent")}
    for log in logs:
        ends = [*(each.step for each in log.acted[1:]), log.steps]
        for (begin, who), end in zip(log.acted or (Acted(0, "unknown"),), ends, strict=True):
            name = who.removeprefix("helper:")
            steps, reward = found.get(name, found["agent"])
            found[name if name in found else "agent"] = (
                steps + end - begin,
                reward + float(log.rewards[begin:end].sum()),
            )
    return [(name, *sums) for name, sums in found.items()] if names else []


def _milestones(name: str, logs: Sequence[EpisodeLog], others: Mapping[str, Sequence[EpisodeLog]]) -> str:
    runs = {name: logs, **others}
    if not any(milestone_steps(each) for each in runs.values()):
        return '<p class="dim">none was reached</p>'
    timeline = _svg(milestone_figure(runs), "When each was first reached.")
    return f'<div class="figures">{timeline}<div>{_milestone_table(logs)}</div></div>'


def _world(survey: MapSurvey) -> str:
    if not has_place(survey):
        return ""
    return _svg(world_figure(survey), "The replayed episodes in the world; houses count at their doors.") + _svg(
        world_figure(survey, show="first_visit"), "The order in which it was seen."
    )


def _affordances(traces: Sequence[EpisodeTrace], survey: MapSurvey) -> str:
    actions = Counter(traced.log.header.actions for traced in traces).most_common(1)[0][0]
    same = [traced for traced in traces if traced.log.header.actions == actions]
    what = "Share of the steps on which an action was masked: by the rules, and after a plus by experience in addition"
    return _svg(affordance_figure(same), f"{what}; by what was on screen.") + _svg(
        affordance_figure(same, by="map", maps=survey.maps), "The same by map."
    )


def _maps_note(logs: Sequence[EpisodeLog], replayed: Sequence[EpisodeLog]) -> str:
    which = "all" if len(replayed) == len(logs) else f"{len(replayed)} of {len(logs)}"
    maps = "The maps are composed of the screens shown; red is what somebody has walked into in vain"
    return f"Replays of {which} episodes. {maps}; the slider moves through time."


def _page_data(survey: MapSurvey, charts: Sequence[Chart]) -> str:
    maps = []
    for map_id in survey.map_ids:
        width, height = survey.size(map_id)
        if not width or not height:
            continue
        buffer = io.BytesIO()
        imsave(buffer, background_picture(survey, map_id), format="png")
        maps.append(
            {
                "name": map_title(survey, map_id),
                "width": width,
                "height": height,
                "first": survey.first_visits(map_id).reshape(-1).tolist(),
                "walls": survey.walls(map_id),
                "picture": _data_uri("image/png", buffer.getvalue()),
            }
        )
    data = {"maps": maps, "last_step": max(survey.first_visit.values(), default=0), "charts": charts}
    return json.dumps(data, separators=(",", ":")).replace("</", "<\\/")


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _clips(
    logs: Sequence[EpisodeLog], cartridge: Cartridge, options: RenderOptions, report: Callable[[str, int, int], None]
) -> str:
    best = max(logs, key=lambda log: log.episode_return)
    chosen = {"Best episode": best, "Last episode": logs[-1]} if best is not logs[-1] else {"Last and best": best}
    figures = []
    for number, (title, log) in enumerate(chosen.items()):
        report("rendering", number, len(chosen))
        with tempfile.TemporaryDirectory() as folder:
            result = render_episode(log, Path(folder) / "clip.mp4", cartridge=cartridge, options=options)
            source = _data_uri("video/mp4", result.path.read_bytes())
            poster = _data_uri("image/png", _first_picture(result.path))
        speed = "" if options.speed == 1 else f", {options.speed:g} times as fast"
        caption = (
            f"{title}: return {log.episode_return:,.2f}, {log.steps:,} steps from step {log.header.global_step:,}, "
            f"{result.hashes_checked} RAM hashes equal{speed}"
        )
        figures.append(
            f'<figure><video controls playsinline preload="metadata" poster="{poster}" src="{source}"></video>'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )
    return "".join(figures)


def _first_picture(path: Path) -> bytes:
    """Return the first picture of a video as PNG."""
    with av.open(os.fspath(path)) as container:
        frame = next(iter(container.decode(video=0)))
        buffer = io.BytesIO()
        imsave(buffer, frame.to_ndarray(format="rgb24"), format="png")
    return buffer.getvalue()


def _milestone_table(logs: Sequence[EpisodeLog]) -> str:
    reached = milestone_steps(logs)
    counts: dict[str, int] = {}
    for log in logs:
        for name in {milestone.name for milestone in log.milestones}:
            counts[name] = counts.get(name, 0) + 1
    rows = [
        (name, f"{step:,}", f"{counts[name]:,}", f"{counts[name] / len(logs):.1%}") for name, step in reached.items()
    ]
    return _table(("milestone", "first at step", "episodes", "share"), rows)


def _episodes_note(logs: Sequence[EpisodeLog], again: Sequence[EpisodeLog]) -> str:
    note = f"{len(logs)} episodes"
    if again:
        note += f", and {len(again)} of which steps were played again after a crash: they count nowhere"
    return note


def _episode_table(logs: Sequence[EpisodeLog], replayed: set[int], again: set[int]) -> str:
    logs = sorted(logs, key=lambda log: log.header.global_step)
    rows = [
        (
            log.path.name if log.path else "",
            f"{log.header.global_step:,}",
            f"{log.steps:,}",
            f"{log.frames:,}",
            f"{log.episode_return:,.2f}",
            log.outcome.value + (", played again" if id(log) in again else ""),
            str(log.header.job or ""),
            "yes" if id(log) in replayed else "",
        )
        for log in logs[-_MAX_ROWS:][::-1]
    ]
    return _table(("log", "at step", "steps", "frames", "return", "outcome", "job", "replayed"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; columns of numbers are flush right."""
    numeric = [all(_NUMBER.fullmatch(row[column]) for row in rows) for column in range(len(head))]

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = [' class="number"' if is_number else "" for is_number in numeric]
        return "".join(f"<{tag}{kind}>{html.escape(text)}</{tag}>" for kind, text in zip(kinds, row, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    top = f"<thead><tr>{cells('th', head)}</tr></thead>" if any(head) else ""
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>'


def _environment(run: Path, logs: Sequence[EpisodeLog]) -> str:
    header = logs[-1].header
    rows: list[tuple[str, str]] = [
        ("run folder", run.name),
        ("cartridge", f"{header.cartridge_title}, SHA-1 {header.cartridge_sha1}"),
        ("recorded with", f"PyBoy {header.pyboy_version}, state version {header.state_version}"),
        ("timing", f"{header.frames_per_action} frames an action, {header.hold_frames} held"),
        ("actions", ", ".join(header.actions)),
        ("helpers", ", ".join(header.helpers) or "none"),
        ("config hash", header.config_sha256 or "none"),
        ("report made with", f"Python {platform.python_version()}, " + ", ".join(_versions())),
    ]
    return _table(("", ""), rows)


def _versions() -> list[str]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        where = path.parent / EPISODE_FOLDER
        return f"{path.name} is not in the run folder (beside {where.name}/)"
