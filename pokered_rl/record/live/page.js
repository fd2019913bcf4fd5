"use strict";
const $ = id => document.getElementById(id);
const KEPT = 3000, TRAIL = 48, CELL = 8, WAYS = { right: [1, 0], left: [-1, 0], up: [0, -1], down: [0, 1] };

const figures = new Map();      // "e3": emulator 3 as it plays; "t5": a log that was replayed
const maps = new Map();         // map id -> place on the world, picture, walls, painted canvas
const state = { mode: "live", chosen: null, facts: {}, story: [], status: {}, logs: [], charts: [], paused: false,
  back: 0, step: 0, view: null, follow: true, wanted: -1, painted: 0, updates: 0, taken: -1, played: -1 };
window.live = { figures, maps, state };  // for tests

// ---- events of the server ------------------------------------------------------------------------------------------

const source = new EventSource("/events");
const on = (name, act) => source.addEventListener(name, event => act(JSON.parse(event.data)));
source.onerror = () => pill("connection lost, trying again", "bad");
on("hello", hello => {
  figures.clear(); maps.clear();
  Object.assign(state, { facts: hello.facts, story: hello.story, logs: hello.logs });
  for (const entry of hello.layout) maps.set(entry.id, { ...entry, outdoor: "x" in entry, walls: new Set(),
    seen: new Map(), version: 0, canvas: null });
  pictures(hello.pictures); status(hello.status); charts(hello.charts); listLogs();
  if (!hello.status.running) setMode("logs"); else setMode(state.mode);
  taken(hello.taken);
  if (state.chosen && state.chosen[0] === "e") look(false);
});
on("facts", facts => {
  if (JSON.stringify(facts) === JSON.stringify(state.facts)) return;  // the same job has begun another file
  state.facts = facts;
  for (const key of [...figures.keys()]) if (key[0] === "e") figures.delete(key);
});
on("status", status);
on("charts", charts);
on("pictures", pictures);
on("logs", logs => { state.logs = logs; listLogs(); });
on("steps", takeSteps);
on("look", takeLook);
on("track", takeTrack);
on("taken", taken);

function figure(key, kind, number) {
  let one = figures.get(key);
  if (!one) {
    one = { key, kind, number, base: 0, places: [], actions: [], rewards: [], levels: [], flags: [], at: [], milestones: [],
      returns: [], cursor: -1, rate: 0, arrived: 0, gap: 0, looks: [], cell: "", pulse: 0, names: [], bump: null };
    figures.set(key, one);
  }
  return one;
}

const end = one => one.base + one.places.length - 1;
const item = (one, list, index) => list[Math.max(0, Math.min(list.length - 1, index - one.base))];

function takeSteps(event) {
  state.updates += 1;
  const now = performance.now(), T = event.steps;
  for (let e = 0; e < event.emulators; e++) {
    const number = event.first + e, one = figure("e" + number, "live", number);
    one.names = state.facts.actions || [];
    let step = event.at[e], total = one.returns.length ? one.returns[one.returns.length - 1] : 0;
    for (let t = 0; t < T; t++) {
      const index = e * T + t;
      if (t > 0 && event.done[index - 1]) step = 0;
      if (step === 0) { total = 0; one.milestones = one.milestones.filter(() => false); }
      step += 1;
      total += event.rewards[index];
      visit(one, event.places[index], event.flags[index], event.actions[index]);
      one.places.push(event.places[index]); one.actions.push(event.actions[index]);
      one.rewards.push(event.rewards[index]); one.levels.push(event.levels[index]);
      one.flags.push(event.flags[index]); one.at.push(step); one.returns.push(total);
    }
    if (one.places.length > KEPT) {
      const more = one.places.length - KEPT;
      for (const list of [one.places, one.actions, one.rewards, one.levels, one.flags, one.at, one.returns]) list.splice(0, more);
      one.base += more;
    }
    one.cell = event.cells[e] || "";
    if (one.arrived) one.gap = one.gap ? 0.7 * one.gap + 0.3 * (now - one.arrived) : now - one.arrived;
    one.arrived = now;
    if (one.cursor < 0 || (!state.paused && end(one) - one.cursor > 4 * T)) one.cursor = Math.max(one.base, end(one) - T);
    one.rate = (end(one) - one.cursor) / Math.max(60, one.gap || 1000);
  }
  for (const [step, emulator, name] of event.milestones) {
    const one = figure("e" + (event.first + emulator), "live", event.first + emulator);
    one.milestones.push([end(one) - T + 1 + step, name]);
    one.pulse = now;
  }
}

// Put the maps without a place in the world, as far as they were seen, in lines beside the others.
function arrange() {
  const seen = [...maps.values()].filter(map => map.version || map.seen.size), out = seen.filter(map => map.outdoor);
  const edge = (list, of) => list.length ? Math.max(...list.map(of)) : 0;
  const top = out.length ? Math.min(...out.map(map => map.y)) : 0, right = edge(out, map => map.x + map.w);
  const height = Math.max(40, edge(out, map => map.y + map.h) - top);
  let x = right + (out.length ? 4 : 0), y = top, column = 0;
  for (const map of seen.filter(map => !map.outdoor)) {
    if (y > top && y + map.h > top + height) { x += column + 3; y = top; column = 0; }
    map.x = x; map.y = y;
    y += map.h + 3; column = Math.max(column, map.w);
  }
}

// Note a step of a map as seen, and a wall where somebody has walked in vain twice.
function visit(one, place, flags, action) {
  const map = maps.get(place >> 16), x = place >> 8 & 255, y = place & 255;
  if (!map || x >= map.w || y >= map.h) return;
  const index = y * map.w + x, before = one.places.length ? one.places[one.places.length - 1] : -1;
  if (!map.seen.has(index)) {
    map.seen.set(index, map.seen.size); map.canvas = null;
    if (map.seen.size === 1) arrange();
  }
  if (map.walls.delete(index)) map.canvas = null;
  const way = WAYS[one.names[action]];
  const stuck = way && place === before && flags === 4 && one.flags[one.flags.length - 1] === 4;
  if (stuck && one.bump === place * 64 + action) {
    const wx = x + way[0], wy = y + way[1], wall = wy * map.w + wx;
    if (wx >= 0 && wy >= 0 && wx < map.w && wy < map.h && !map.seen.has(wall) && !map.walls.has(wall)) {
      map.walls.add(wall); map.canvas = null;
    }
  }
  one.bump = stuck ? place * 64 + action : null;
}

function takeLook(event) {
  const one = figures.get("e" + event.emulator);
  if (!one) return;
  const bytes = event.screens ? Uint8Array.from(atob(event.screens), sign => sign.charCodeAt(0)) : null;
  one.looks.push({ ...event, start: end(one) - event.steps + 1, bytes });
  if (one.looks.length > 60) one.looks.shift();
}

function takeTrack(event) {
  const key = "t" + event.track, one = figure(key, "track", event.track);
  if (!event.first) {
    Object.assign(one, { places: [], actions: [], rewards: [], levels: [], returns: [], flags: [], at: [], names: event.names,
      summary: event, emulator: event.emulator, base: 0 });
  } else if (event.first > one.places.length) return;
  one.milestones = event.milestones; one.acted = event.acted;
  event.places.forEach((place, index) => {
    const at = event.first + index;
    if (at < one.places.length) return;  // known since this page was opened
    const reward = at ? event.rewards[at - Math.max(1, event.first)] : 0;
    const action = at ? event.actions[at - Math.max(1, event.first)] : -1;
    visit(one, place, event.flags[index], action);
    one.places.push(place); one.levels.push(event.levels[index]); one.flags.push(event.flags[index]); one.at.push(at);
    one.actions.push(action);
    one.rewards.push(reward);
    one.returns.push((at ? one.returns[at - 1] : 0) + reward);
  });
  one.done = event.done; one.error = event.error;
  if (one.emulator >= 0 && one.emulator === state.wanted && event.done) {
    state.wanted = -1;
    setMode("logs"); choose(key);
    state.step = state.toStart ? 0 : end(one);
    state.paused = true; setPlay();
    if (state.toTake) { state.toTake = false; take(); }
  }
  if (key === state.chosen && holds()) goTo(end(one));
  timeline();
}

function pictures(versions) {
  for (const [id, version] of Object.entries(versions)) {
    const map = maps.get(+id);
    if (!map || map.version === version) continue;
    map.version = version;
    arrange();
    const picture = new Image();
    picture.onload = () => { map.picture = picture; map.canvas = null; };
    picture.src = `/map/${id}.png?v=${version}`;
  }
}

// ---- what is told in words ------------------------------------------------------------------------------------------

function pill(text, kind) { $("state").textContent = text; $("state").className = "pill " + kind; }

function status(now) {
  state.status = now;
  $("name").textContent = now.run || "run";
  document.title = (now.run || "run") + ": live";
  if (now.running) pill("running", "good");
  else if (now.silent) pill("silent: its last job has ended without a word", "bad");
  else pill("ended: " + (now.last_stop || "no job yet"), now.complete ? "done" : "");
  const number = value => Math.round(value || 0).toLocaleString("en");
  $("numbers").textContent = now.steps === undefined ? "" :
    `${number(now.steps)} of ${number(now.target_total_steps)} steps, ${number(now.steps_per_second)} steps/s, ` +
    `${number(now.episodes)} episodes, ${number(now.updates)} updates`;
  const best = Object.entries(now.best || {}).map(([name, value]) => ["best " + name, typeof value === "number" ? +value.toFixed(2) : value]);
  const fill = state.facts.replay_capacity ? ` of ${number(state.facts.replay_capacity)}` : "";
  table($("health"), [], [["job", now.jobs], ["workers", state.facts.num_workers], ["replaced workers", now.worker_restarts],
    ["lost steps", now.steps_lost], ["replay", number(now.replay_sequences) + fill],
    ["updates a second", (now.updates_per_second || 0).toFixed(1)], ["hours", ((now.wall_seconds || 0) / 3600).toFixed(2)],
    ...best].filter(row => row[1] !== undefined).map(row => row.map(String)));
  $("notice").hidden = now.running || !figures.size;
  if (!now.running && state.ran) notice("The job has ended: " + (now.last_stop || "") + ". Its logs are below.");
  state.ran = state.ran || now.running;
}

function notice(text) { $("notice").textContent = text; $("notice").hidden = !text; }

function charts(list) {
  state.charts = list;
  Draw.charts($("charts"), list);
  const rates = {};
  for (const data of list.filter(each => each.title.startsWith("milestones")))
    for (const series of data.series) {
      const known = series.x.findIndex((x, at) => series.y[at] > 0);
      if (known < 0) continue;
      const row = rates[series.name] = rates[series.name] || { first: Infinity };
      row.first = Math.min(row.first, series.x[known]);
      row[data.title.endsWith("training") ? "training" : "evaluation"] = series.y[series.y.length - 1];
    }
  const share = value => value === undefined ? "" : (100 * value).toFixed(0) + " %";
  const known = Object.keys(rates).length;
  table($("milestones"), known ? ["milestone", "seen by step", "training", "evaluation"] : ["none was reached yet"], Object.entries(rates).map(([name, row]) =>
    [name, Draw.short(row.first), share(row.training), share(row.evaluation)]));
}

function table(element, head, rows, click) {
  const line = (cells, tag, index) => {
    const made = document.createElement("tr");
    for (const cell of cells) {
      const box = document.createElement(tag);
      box.textContent = cell;
      if (/^-?[\d.,]+( %|k|M)?$/.test(cell)) box.className = "number";
      made.append(box);
    }
    if (click) { made.tabIndex = 0; made.onclick = () => click(index); made.onkeydown = event => event.key === "Enter" && click(index); }
    return made;
  };
  element.replaceChildren(...(head.length ? [line(head, "th")] : []), ...rows.map((row, index) => line(row, "td", index)));
}

function listLogs() {
  $("logs-note").textContent = state.logs.length ? `${state.logs.length} logs; click one to replay it` :
    state.status.running ? "the logs are listed when the view is switched to them" : "no logs yet";
  const order = state.logs.map((log, index) => [log, index]).sort((a, b) => b[0].return - a[0].return);
  table($("logs"), ["at step", "return", "steps", "furthest", "from"], order.map(([log]) => [Draw.short(log.at),
    log.return.toFixed(2), String(log.steps), log.story[log.story.length - 1] || "", `w${log.worker} e${log.of}`]),
    row => { post("/open", { log: order[row][1] }); setMode("logs"); });
}

function post(path, content) {
  return fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content) });
}

// ---- time -----------------------------------------------------------------------------------------------------------

const shown = () => [...figures.values()].filter(one => (one.kind === "live") === (state.mode === "live") && one.places.length);

function setMode(mode) {
  state.mode = mode;
  $("show-live").classList.toggle("on", mode === "live");
  $("show-logs").classList.toggle("on", mode === "logs");
  if (mode === "logs" && !state.logs.length) post("/logs", {});
  const kind = mode === "live" ? "e" : "t";
  if (state.chosen && state.chosen[0] !== kind) choose(null);
  state.paused = false; state.back = 0;
  setPlay(); timeline();
}
$("show-live").onclick = () => setMode("live");
$("show-logs").onclick = () => setMode("logs");

function setPlay() { $("play").textContent = state.paused ? "play" : "pause"; }
$("play").onclick = () => {
  state.paused = !state.paused;
  if (!state.paused) {
    state.back = 0;
    if (state.mode === "logs" && state.step >= longest()) state.step = 0;
  }
  for (const one of figures.values()) one.frozen = Math.floor(one.cursor);
  setPlay(); timeline();
};
$("time").oninput = () => {
  if (!state.paused) { state.paused = true; for (const one of figures.values()) one.frozen = Math.floor(one.cursor); setPlay(); }
  if (state.mode === "live") state.back = -$("time").value; else state.step = +$("time").value;
};

function longest() {
  const chosen = figures.get(state.chosen);
  return chosen && chosen.kind === "track" ? end(chosen) : Math.max(0, ...shown().map(end));
}

function timeline() {
  const bar = $("time");
  if (state.mode === "live") {
    bar.min = -Math.max(1, Math.min(KEPT - 1, ...shown().map(one => one.places.length - 1)));
    bar.max = 0; bar.value = -state.back;
  } else {
    bar.min = 0; bar.max = Math.max(1, longest()); bar.value = state.step;
  }
}

function advance(milliseconds) {
  if (state.mode === "logs") {
    if (!state.paused) state.step = Math.min(longest(), state.step + milliseconds / 1000 * $("speed").value);
    for (const one of shown()) one.cursor = Math.min(state.step, end(one));
    $("time").value = state.step;
    $("now").textContent = `step ${Math.floor(state.step)} of ${longest()}`;
    return;
  }
  for (const one of shown()) {
    if (state.paused) one.cursor = Math.max(one.base, (one.frozen === undefined ? Math.floor(one.cursor) : one.frozen) - state.back);
    else one.cursor = Math.min(end(one), one.cursor + one.rate * milliseconds);
  }
  $("time").value = -state.back;
  $("now").textContent = state.paused ? `${state.back} steps ago` : "now";
}

// ---- the world ------------------------------------------------------------------------------------------------------

const canvas = $("world"), context = canvas.getContext("2d");

function placeOf(code) {
  const map = maps.get(code >> 16);
  return map ? [map.x + (code >> 8 & 255) + 0.5, map.y + (code & 255) + 0.5, map.id] : null;
}

// The place of a figure at its cursor, between two steps where it walked from one to the next.
function position(one) {
  const at = Math.floor(one.cursor), here = placeOf(item(one, one.places, at));
  const next = at < end(one) ? placeOf(item(one, one.places, at + 1)) : null;
  if (!here || !next || here[2] !== next[2] || Math.abs(here[0] - next[0]) + Math.abs(here[1] - next[1]) > 2) return here;
  const part = one.cursor - at;
  return [here[0] + (next[0] - here[0]) * part, here[1] + (next[1] - here[1]) * part, here[2]];
}

function tint(one) {
  const by = $("colour").value;
  const hue = share => `hsl(${Math.round(220 - 220 * Math.max(0, Math.min(1, share)))} 85% 48%)`;
  if (by === "start") return one.cell ? "#d07a00" : "#1f6fd0";
  if (by === "return") {
    const value = item(one, one.returns, Math.floor(one.cursor)), all = shown().map(each => item(each, each.returns, Math.floor(each.cursor)));
    const low = Math.min(...all), high = Math.max(...all);
    return hue(high > low ? (value - low) / (high - low) : 0);
  }
  const epsilon = one.kind === "live" ? (state.facts.epsilons || [])[one.number] : one.summary.epsilon;
  return hue(epsilon ? 1 + Math.log10(Math.max(1e-3, epsilon)) / 3 : 0);
}

function key() {
  $("key").textContent = { epsilon: "blue: greedy, red: explores", start: "blue: power-on, orange: archive",
    return: "blue: low, red: high" }[$("colour").value];
}
$("colour").onchange = key; key();

function fit() {
  let box = null;
  for (const map of maps.values()) {
    if (!map.version && !map.seen.size) continue;
    box = box || [map.x, map.y, map.x + map.w, map.y + map.h];
    box = [Math.min(box[0], map.x), Math.min(box[1], map.y), Math.max(box[2], map.x + map.w), Math.max(box[3], map.y + map.h)];
  }
  if (!box) return;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  const scale = Math.min(width / (box[2] - box[0] + 4), height / (box[3] - box[1] + 4), 40);
  state.view = { scale, x: (box[0] + box[2]) / 2 - width / 2 / scale, y: (box[1] + box[3]) / 2 - height / 2 / scale };
}
$("fit").onclick = () => { state.follow = true; fit(); };

function painted(map) {
  const walls = $("walls").checked;
  if (map.canvas && map.walled === walls) return map.canvas;
  map.canvas = map.canvas || document.createElement("canvas");
  map.walled = walls;
  map.canvas.width = map.w * CELL * 2; map.canvas.height = map.h * CELL * 2;
  const target = map.canvas.getContext("2d");
  Draw.map(target, CELL * 2, { picture: map.picture, width: map.w, height: map.h, walls: walls ? map.walls : [] }, 0, 1);
  if (!map.picture) {
    target.fillStyle = "rgba(70,110,160,.35)";
    for (const index of map.seen.keys()) target.fillRect(index % map.w * CELL * 2, Math.floor(index / map.w) * CELL * 2, CELL * 2, CELL * 2);
  }
  return map.canvas;
}

function paint() {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    if (state.follow) state.view = null;
  }
  if (!state.view) fit();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  if (!state.view) {
    context.fillStyle = "#445"; context.font = "15px system-ui";
    context.fillText(state.status.running ? "waiting for the workers' next batch" : "nothing was played yet", 20, 40);
    return;
  }
  const { scale, x, y } = state.view, X = value => (value - x) * scale, Y = value => (value - y) * scale;
  context.imageSmoothingEnabled = scale < CELL;
  for (const map of maps.values()) {
    if (!map.version && !map.seen.size) continue;
    if (X(map.x + map.w) < 0 || Y(map.y + map.h) < 0 || X(map.x) > width || Y(map.y) > height) continue;
    context.fillStyle = "#dfe4e8";
    context.fillRect(X(map.x), Y(map.y), map.w * scale, map.h * scale);
    context.drawImage(painted(map), X(map.x), Y(map.y), map.w * scale, map.h * scale);
    context.strokeStyle = "rgba(30,40,60,.35)"; context.lineWidth = 1;
    context.strokeRect(X(map.x), Y(map.y), map.w * scale, map.h * scale);
    if (map.w * scale > 46) {
      context.font = "11px system-ui";
      const wide = context.measureText(map.name).width + 6;
      context.fillStyle = "rgba(255,255,255,.8)"; context.fillRect(X(map.x) + 1, Y(map.y) + 1, wide, 14);
      context.fillStyle = "#203050"; context.fillText(map.name, X(map.x) + 4, Y(map.y) + 12);
    }
  }
  const now = performance.now(), size = Math.max(4, Math.min(9, scale * 0.55));
  for (const one of shown()) {
    const here = position(one);
    if (!here) continue;
    const colour = tint(one), chosen = one.key === state.chosen;
    one.drawn = [X(here[0]), Y(here[1])];
    if ($("trails").checked) trail(one, here, colour, X, Y, chosen);
    context.beginPath(); context.arc(...one.drawn, chosen ? size + 3 : size, 0, 7);
    context.fillStyle = colour; context.fill();
    context.lineWidth = chosen ? 3 : 1.5; context.strokeStyle = chosen ? "#000" : "#fff"; context.stroke();
    if (now - one.pulse < 2500) {
      context.beginPath(); context.arc(...one.drawn, size + (now - one.pulse) / 60, 0, 7);
      context.strokeStyle = "#e8a400"; context.lineWidth = 3; context.stroke();
    }
  }
  state.painted += 1;
}

function trail(one, here, colour, X, Y, chosen) {
  context.strokeStyle = colour; context.lineWidth = chosen ? 3 : 2;
  const at = Math.floor(one.cursor), length = chosen ? 3 * TRAIL : TRAIL;
  let before = here;
  context.globalAlpha = 0.6; context.beginPath(); context.moveTo(X(here[0]), Y(here[1]));
  for (let index = at; index > Math.max(one.base, at - length); index--) {
    const place = placeOf(item(one, one.places, index));
    if (!place) break;
    if (place[2] !== before[2] || Math.abs(place[0] - before[0]) + Math.abs(place[1] - before[1]) > 2) context.moveTo(X(place[0]), Y(place[1]));
    else context.lineTo(X(place[0]), Y(place[1]));
    if (one.at.length && item(one, one.at, index) <= 1) break;
    before = place;
  }
  context.stroke(); context.globalAlpha = 1;
}

// ---- hands ----------------------------------------------------------------------------------------------------------

const fingers = new Map();
let moved = false;
canvas.onpointerdown = event => { canvas.setPointerCapture(event.pointerId); fingers.set(event.pointerId, [event.offsetX, event.offsetY]); moved = false; };
canvas.onpointermove = event => {
  const before = fingers.get(event.pointerId);
  if (!before || !state.view) return;
  const here = [event.offsetX, event.offsetY], others = [...fingers.entries()].filter(([id]) => id !== event.pointerId);
  if (Math.hypot(here[0] - before[0], here[1] - before[1]) > 3) moved = true;
  if (others.length) {
    const other = others[0][1], ratio = Math.hypot(here[0] - other[0], here[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1]));
    zoom(ratio, (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
  } else if (moved) {
    state.view.x -= (here[0] - before[0]) / state.view.scale; state.view.y -= (here[1] - before[1]) / state.view.scale;
    state.follow = false;
  }
  if (moved) fingers.set(event.pointerId, here);
};
canvas.onpointerup = event => {
  fingers.delete(event.pointerId);
  if (!moved) hit(event.offsetX, event.offsetY, event.pointerType === "touch" ? 26 : 16);
};
canvas.onpointercancel = event => fingers.delete(event.pointerId);
canvas.onwheel = event => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.offsetX, event.offsetY); };

function zoom(ratio, x, y) {
  if (!state.view) return;
  const scale = Math.max(1, Math.min(60, state.view.scale * ratio)), view = state.view;
  state.view = { scale, x: view.x + x / view.scale - x / scale, y: view.y + y / view.scale - y / scale };
  state.follow = false;
}

function hit(x, y, within) {
  let best = null, least = within;
  for (const one of shown()) {
    const far = one.drawn ? Math.hypot(one.drawn[0] - x, one.drawn[1] - y) : Infinity;
    if (far < least) { best = one; least = far; }
  }
  choose(best && best.key);
}

// ---- one figure -----------------------------------------------------------------------------------------------------

function choose(name) {
  state.chosen = name;
  $("one").hidden = !name; $("hint").hidden = !!name;
  if (name && name[0] === "e") look(false); else if (state.looking) { state.looking = false; post("/look", { emulator: -1 }); }
  $("log").hidden = $("start").hidden = !name;
  $("log").textContent = name && name[0] === "t" ? "its end" : "its log";
  hands();
  timeline();
}

function look(log) {
  const one = figures.get(state.chosen);
  state.looking = true;
  post("/look", { emulator: +state.chosen.slice(1), log });
  if (log && one) { state.wanted = one.number; notice("Asked for the log of its episode; it comes with the next batch."); setTimeout(() => notice(""), 4000); }
}

$("log").onclick = () => { if (state.chosen[0] === "t") goTo(longest()); else { state.toStart = false; look(true); } };
$("start").onclick = () => { if (state.chosen[0] === "t") goTo(0); else { state.toStart = true; look(true); } };
$("close").onclick = () => choose(null);

// An episode that a person takes over: the server plays a copy of it on.
const KEYS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right", w: "up", s: "down", a: "left",
  d: "right", x: "a", z: "b", Enter: "start", Backspace: "select", " ": "select", ".": "noop", t: "take", q: "quit",
  Escape: "quit" };
const holds = () => state.taken >= 0 && state.chosen === "t" + state.taken;
function taken(now) {
  Object.assign(state, { taken: now.track, told: now.text, played: now.track >= 0 ? now.track : state.played });
  if (state.asking && now.text) {
    state.asking = false;
    if (now.track >= 0) { setMode("logs"); choose("t" + now.track); goTo(longest()); } else notice(now.text);
  }
  hands();
}
function hands() {
  const on = holds(), person = state.told && state.told.startsWith("you");
  const text = state.chosen !== "t" + state.played ? "" : state.told +
    (on && person ? "; arrows, X = A, Z = B, Enter = START, or an action's name below; Q ends" : "");
  $("taken").hidden = !text; $("taken").textContent = text;
  $("leave").hidden = !on; document.body.classList.toggle("taking", on);
  $("take").textContent = !on ? "take over" : person ? "give back" : "take the buttons";
}
function take() {
  state.asking = true;
  post("/take", { track: +state.chosen.slice(1), step: Math.floor(Math.min(state.step, end(figures.get(state.chosen)))) })
    .then(answer => answer.ok || answer.text().then(text => { state.asking = false; notice(text); }));
}
let pressing = false;
function press(key) {
  if (pressing) return;
  pressing = true;
  post("/press", { key }).finally(() => { pressing = false; });
}
$("take").onclick = () => {
  $("take").blur();
  if (holds()) press("take");
  else if (state.chosen[0] === "t") take();
  else { state.toTake = true; state.toStart = false; look(true); }
};
$("leave").onclick = () => press("quit");
$("actions").onclick = event => { if (holds() && event.target.dataset.action) press(event.target.dataset.action); };
document.addEventListener("keydown", event => {
  const key = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!holds() || !key || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  event.preventDefault();
  press(key);
});
function goTo(step) { state.step = step; state.paused = true; setPlay(); }
function neighbour(way) {
  const all = shown().sort((a, b) => a.number - b.number), at = all.findIndex(one => one.key === state.chosen);
  if (all.length) choose(all[(at + way + all.length) % all.length].key);
}
$("previous").onclick = () => neighbour(-1);
$("next").onclick = () => neighbour(1);

const screens = new Map();
let asked = 0;
function fetched(path, kind) {
  if (screens.has(path)) return screens.get(path);
  if (asked > 3) return undefined;
  asked += 1;
  screens.set(path, null);
  fetch(path).then(answer => answer.ok ? answer[kind]() : null).then(content => screens.set(path, content)).catch(() => screens.delete(path))
    .finally(() => { asked -= 1; });
  if (screens.size > 600) screens.delete(screens.keys().next().value);
  return null;
}

function show() {
  const one = figures.get(state.chosen);
  if (!one || !one.places.length) return;
  const at = Math.max(one.base, Math.floor(one.cursor)), place = item(one, one.places, at), map = maps.get(place >> 16);
  const story = one.milestones.filter(([step, name]) => step <= at && !name.startsWith("map:"));
  $("who").textContent = one.kind === "live" ? `emulator ${one.number}` : `log ${one.number + 1}`;
  const epsilon = one.kind === "live" ? (state.facts.epsilons || [])[one.number] : one.summary.epsilon;
  const flags = item(one, one.flags, at), doing = flags & 1 ? ", in a battle" : flags & 2 ? ", text open" : "";
  $("where").textContent = `${map ? map.name : "map " + (place >> 16)} (${place >> 8 & 255}, ${place & 255})${doing}; ` +
    `step ${item(one, one.at, at)} of its episode; return ${item(one, one.returns, at).toFixed(2)}; ` +
    `party level ${item(one, one.levels, at)}; epsilon ${epsilon === null || epsilon === undefined ? "unknown" : +epsilon.toFixed(4)}` +
    (one.cell ? `; from the archive (${one.cell})` : "") + (one.error ? `; ${one.error}` : "") + acting(one, at);
  const found = one.kind === "live" ? liveLook(one, at) : trackLook(one, at);
  if (found.bytes) drawScreen(found.bytes, found.height);
  $("screen").dataset.step = found.bytes ? found.step : "";
  actions(one, at, found);
  terms(one, at, found);
  list($("reached"), story.slice(-12).reverse().map(([step, name]) => `${name.replace(/_/g, " ")} (${one.kind === "live" ? at - step + " steps ago" : "step " + step})`));
}

function acting(one, at) {
  if (!one.acted || !one.acted.length) return "";
  let who = "";
  for (const [step, name] of one.acted) if (step < at || step === 0) who = name;
  return who ? `; acts: ${who}` : "";
}

function liveLook(one, at) {
  // The screen before a step shows what the step before has led to.
  const next = one.looks.find(each => each.start <= at + 1 && at + 1 < each.start + each.steps);
  const here = one.looks.find(each => each.start <= at && at < each.start + each.steps);
  const seen = next || here, step = next ? at + 1 : at;
  if (!seen || !seen.bytes) return {};
  const size = seen.bytes.length / seen.steps, t = step - seen.start;
  return { bytes: seen.bytes.subarray(t * size, (t + 1) * size), height: seen.height, step,
    values: here && here.values && here.values[at - here.start], mask: here && here.masks && here.masks[at - here.start],
    quantiles: here && at - here.start === here.steps - 1 ? here.quantiles : null, look: here };
}

function trackLook(one, at) {
  const path = step => `/screen/${one.number}/${step}`;
  let bytes = fetched(path(at), "arrayBuffer"), step = at;
  while (!bytes && step > Math.max(0, at - 8)) bytes = screens.get(path(--step));  // until that of the step is here
  const values = state.paused && at > 0 ? fetched(`/values/${one.number}/${at - 1}`, "json") : null;
  return bytes ? { bytes: new Uint8Array(bytes), height: 144, step, values } : { values };
}

const screenContext = $("screen").getContext("2d");
function drawScreen(bytes, height) {
  const data = Draw.screen(bytes, height);
  if ($("screen").width !== data.width) { $("screen").width = data.width; $("screen").height = data.height; }
  screenContext.putImageData(data, 0, 0);
}

function actions(one, at, found) {
  const names = one.names, box = $("actions"), taken = item(one, one.actions, at);
  if (box.dataset.of !== names.join()) {
    box.dataset.of = names.join();
    box.replaceChildren(...names.flatMap(name => {
      const label = document.createElement("span"), bar = document.createElement("canvas"), value = document.createElement("span");
      label.textContent = label.dataset.action = name; bar.width = 160; bar.height = 14;
      return [label, bar, value];
    }));
  }
  const all = [...(found.values || []), ...(found.quantiles || []).flat()], low = Math.min(...all), high = Math.max(...all, low + 1e-6);
  const X = value => 2 + 156 * (value - low) / (high - low);
  names.forEach((name, index) => {
    const [label, bar, value] = [0, 1, 2].map(part => box.children[3 * index + part]), pen = bar.getContext("2d");
    const masked = found.mask && !(found.mask[index >> 3] >> (index & 7) & 1);
    label.className = (masked ? "masked " : "") + (index === taken ? "taken" : "");
    value.textContent = found.values ? found.values[index].toFixed(2) : "";
    pen.clearRect(0, 0, 160, 14);
    if (!found.values) return;
    pen.fillStyle = index === taken ? "#2563a8" : "#9db4cf"; pen.fillRect(0, 4, X(found.values[index]), 6);
    if (!found.quantiles) return;
    pen.fillStyle = "rgba(192,83,44,.6)";
    for (const quantile of found.quantiles[index]) pen.fillRect(X(quantile) - 0.7, 1, 1.4, 12);
  });
}

function terms(one, at, found) {
  const lines = [];
  for (let step = at; step > Math.max(one.base, at - 40) && lines.length < 10; step--) {
    const reward = item(one, one.rewards, step), seen = one.looks.find(each => each.terms && each.start <= step && step < each.start + each.steps);
    const parts = seen ? seen.terms[step - seen.start].map((value, index) => [seen.term_names[index], value]).filter(([, value]) => Math.abs(value) > 1e-4)
      .map(([name, value]) => `${name} ${value > 0 ? "+" : ""}${value.toFixed(3)}`) : [];
    const name = one.names[item(one, one.actions, step)] || "";
    lines.push(`${at - step ? at - step + " ago" : "now"}: ${name}, ${reward > 0 ? "+" : ""}${reward.toFixed(3)}${parts.length ? " (" + parts.join(", ") + ")" : ""}`);
  }
  list($("terms"), lines);
}

function list(element, lines) {
  if (element.dataset.text === lines.join("\n")) return;
  element.dataset.text = lines.join("\n");
  element.replaceChildren(...lines.map(text => { const entry = document.createElement("li"); entry.textContent = text; return entry; }));
}

// ---- the clock ------------------------------------------------------------------------------------------------------

let last = performance.now(), refreshed = 0;
function frame(now) {
  advance(Math.min(200, now - last));
  last = now;
  paint();
  if (now - refreshed > 90) {
    refreshed = now; show();
    if (state.mode === "live") timeline();
    if (state.follow && now % 1000 < 100) fit();
  }
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
window.addEventListener("resize", () => Draw.charts($("charts"), state.charts));
