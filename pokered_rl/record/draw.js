// Charts and maps, shared by the report and the live page.
"use strict";
const Draw = (() => {
  const COLOURS = ["#2563a8", "#c0532c", "#3c8a4f", "#8456a8", "#a8892c", "#4c8fa0", "#b0447a", "#5c6b2f"];
  const SVG = "http://www.w3.org/2000/svg";

  function node(name, attributes, parent) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (parent) parent.append(made);
    return made;
  }

  function short(value) {
    const size = Math.abs(value);
    if (size >= 1e6) return +(value / 1e6).toPrecision(3) + "M";
    if (size >= 1e4) return +(value / 1e3).toPrecision(3) + "k";
    return String(+value.toPrecision(3));
  }

  function ticks(low, high, count) {
    const span = (high - low) || 1, raw = span / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map(factor => factor * power).find(size => size >= raw);
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) found.push(+at.toPrecision(12));
    return found;
  }

  // Draw a chart (see record/charts.py) into a box; what was there is replaced.
  function chart(box, data) {
    const width = Math.max(220, box.clientWidth || 340), height = 190;
    const left = 46, right = 10, top = 8, bottom = 24;
    const values = [], steps = [0];
    for (const series of data.series) {
      series.x.forEach(x => steps.push(x));
      for (const part of [series.y, series.low || [], series.high || []])
        for (const y of part) if (y !== null) values.push(y);
    }
    for (const line of data.lines || []) values.push(line.y);
    let low = Math.min(...values), high = Math.max(...values);
    if (low > 0 && low < 0.6 * high) low = 0;
    if (data.top) { low = 0; high = Math.max(high, data.top); }
    if (low === high) { low -= 0.5; high += 0.5; }
    const last = steps.reduce((a, b) => Math.max(a, b), 1);
    const X = x => left + (width - left - right) * x / last;
    const Y = y => top + (height - top - bottom) * (high - y) / (high - low);
    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": data.title, class: "chart" });
    for (const y of ticks(low, high, 4)) {
      node("line", { x1: left, x2: width - right, y1: Y(y), y2: Y(y), class: "grid" }, svg);
      node("text", { x: left - 5, y: Y(y) + 4, "text-anchor": "end" }, svg).textContent = short(y);
    }
    for (const x of ticks(0, last, 4))
      node("text", { x: X(x), y: height - 7, "text-anchor": "middle" }, svg).textContent = short(x);
    const legend = document.createElement("div");
    legend.className = "legend";
    const name = (text, colour, kind) => {
      const entry = document.createElement("span"), mark = document.createElement("i");
      mark.style.borderTopColor = colour;
      if (kind) mark.style.borderTopStyle = kind;
      entry.append(mark, text);
      legend.append(entry);
    };
    for (const line of data.lines || []) {
      node("line", { x1: left, x2: width - right, y1: Y(line.y), y2: Y(line.y), stroke: "#888", "stroke-width": 1.4,
        "stroke-dasharray": "5 4", class: "baseline" }, svg);
      name(`${line.name} ${short(line.y)}`, "#888", "dashed");
    }
    data.series.forEach((series, index) => {
      const colour = COLOURS[index % COLOURS.length];
      const known = series.x.map((x, at) => at).filter(at => series.y[at] !== null);
      if (series.low && known.length > 1) {
        const points = known.map(at => `${X(series.x[at])},${Y(series.high[at])}`);
        points.push(...known.slice().reverse().map(at => `${X(series.x[at])},${Y(series.low[at])}`));
        node("polygon", { points: points.join(" "), fill: colour, opacity: 0.16 }, svg);
      }
      if (series.dots || known.length < 30)
        for (const at of known)
          node("circle", { cx: X(series.x[at]), cy: Y(series.y[at]), r: series.dots ? 1.6 : 2.4, fill: colour,
            opacity: series.dots ? 0.4 : 1 }, svg);
      if (!series.dots)
        node("polyline", { points: known.map(at => `${X(series.x[at])},${Y(series.y[at])}`).join(" "), fill: "none",
          stroke: colour, "stroke-width": 1.8, "stroke-linejoin": "round" }, svg);
      const end = known.length && !series.dots ? " " + short(series.y[known[known.length - 1]]) : "";
      name(series.name + end, colour);
    });
    const heading = document.createElement("b");
    heading.textContent = data.title;
    box.replaceChildren(heading, svg, legend);
  }

  // Draw the charts of a list into a container, one box each; boxes are kept between calls.
  function charts(container, list) {
    list.forEach((data, index) => {
      const box = container.children[index] || container.appendChild(document.createElement("figure"));
      chart(box, data);
    });
    while (container.children.length > list.length) container.lastChild.remove();
  }

  // The colour of a map step: from just reached (orange) to long known (blue).
  function colour(age) {
    const mix = (a, b) => Math.round(a + (b - a) * age);
    return `rgba(${mix(240, 40)},${mix(120, 90)},${mix(20, 190)},0.55)`;
  }

  // Draw one map: its picture, where somebody was, and walls. first: step of the first visit by index, -1 for never.
  function map(context, cell, { picture, width, height, walls, first }, step, last) {
    context.clearRect(0, 0, width * cell, height * cell);
    context.imageSmoothingEnabled = false;
    if (picture && picture.complete && picture.naturalWidth) context.drawImage(picture, 0, 0, width * cell, height * cell);
    let seen = 0;
    (first || []).forEach((at, index) => {
      if (at < 0 || at > step) return;
      seen += 1;
      context.fillStyle = colour(Math.min(1, (step - at) / (0.15 * last + 1)));
      context.fillRect(index % width * cell, Math.floor(index / width) * cell, cell, cell);
    });
    context.fillStyle = "rgba(150,30,40,0.30)";
    context.strokeStyle = "rgba(150,30,40,0.75)";
    context.lineWidth = Math.max(1, cell / 12);
    for (const index of walls || []) {
      const x = index % width * cell, y = Math.floor(index / width) * cell;
      context.fillRect(x, y, cell, cell);
      context.strokeRect(x + 0.5, y + 0.5, cell - 1, cell - 1);
    }
    return seen;
  }

  // Decode packed shades, four a byte, into an ImageData.
  function screen(bytes, height, tint) {
    const width = 4 * bytes.length / height, data = new ImageData(width, height), pixels = data.data;
    const shades = tint || [[15, 30, 20], [60, 95, 70], [140, 172, 120], [224, 240, 200]];
    for (let at = 0; at < bytes.length; at++)
      for (let part = 0; part < 4; part++) {
        const shade = shades[bytes[at] >> (6 - 2 * part) & 3], to = 4 * (4 * at + part);
        pixels[to] = shade[0]; pixels[to + 1] = shade[1]; pixels[to + 2] = shade[2]; pixels[to + 3] = 255;
      }
    return data;
  }

  return { chart, charts, map, screen, short, COLOURS };
})();
