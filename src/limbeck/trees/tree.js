"use strict";

const data = JSON.parse(document.getElementById("limbeck-tree").textContent);

function decoded(text, kind) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return kind === Uint8Array ? bytes : new kind(bytes.buffer);
}

const { left, right, question, leaf, reached, classes, predict, sharpness } = data.tree;
const weights = decoded(data.tree.weights, Float32Array);
const bias = decoded(data.tree.bias, Float32Array);
const logProbs = decoded(data.tree.logProbs, Float32Array);
const centre = decoded(data.tree.centre, Float32Array);
const spread = decoded(data.tree.spread, Float32Array);
const { rows, labels } = data.inputs;
const inBytes = data.inputs.bytes !== null;
const values = inBytes ? decoded(data.inputs.bytes, Uint8Array) : decoded(data.inputs.floats, Float32Array);
const features = centre.length;
const nodes = left.length;
const counted = reached.every((share) => share !== null);
const leafCount = leaf.filter((number) => number >= 0).length;
const picture = data.picture && { height: data.picture[0], width: data.picture[1], channels: data.picture[2] };

const parent = new Array(nodes).fill(-1);
const level = new Array(nodes).fill(0);
for (let node = 0; node < nodes; node++) {
  if (question[node] < 0) continue;
  for (const child of [left[node], right[node]]) {
    parent[child] = node;
    level[child] = level[node] + 1;
  }
}
const depth = level.reduce((most, one) => Math.max(most, one), 0);

// What lies below each node. Children come after their parents.
const leavesBelow = new Array(nodes).fill(0);
const classesBelow = Array.from({ length: nodes }, () => new Map());
for (let node = nodes - 1; node >= 0; node--) {
  if (leaf[node] >= 0) {
    leavesBelow[node] = 1;
    classesBelow[node].set(likeliest(distribution(leaf[node])), counted ? reached[node] : 1);
    continue;
  }
  for (const child of [left[node], right[node]]) {
    leavesBelow[node] += leavesBelow[child];
    for (const [one, share] of classesBelow[child]) {
      classesBelow[node].set(one, (classesBelow[node].get(one) || 0) + share);
    }
  }
}

function distribution(row) {
  return Array.from(logProbs.subarray(row * classes.length, (row + 1) * classes.length), Math.exp);
}

function likeliest(probabilities) {
  return probabilities.reduce((best, one, index) => (one > probabilities[best] ? index : best), 0);
}

// The walk

function walk(input) {
  const scores = Array.from(bias);
  for (let row = 0; row < scores.length; row++) {
    let sum = 0;
    for (let i = 0, at = row * features; i < features; i++, at++) sum += weights[at] * input[i];
    scores[row] += sum;
  }
  const reach = new Array(nodes).fill(0);
  const toRight = new Array(nodes).fill(0);
  for (let node = 0; node < nodes; node++) {
    if (question[node] < 0) continue;
    const score = scores[question[node]];
    const log = score > 0 ? -Math.log1p(Math.exp(-score)) : score - Math.log1p(Math.exp(score));
    toRight[node] = Math.exp(log);
    reach[right[node]] = reach[node] + log;
    reach[left[node]] = reach[node] + log - score;
  }
  let end = -1;
  if (predict === "greedy") {
    for (end = 0; question[end] >= 0; ) end = scores[question[end]] > 0 ? right[end] : left[end];
  } else {
    for (let node = 0; node < nodes; node++) {
      if (leaf[node] >= 0 && (end < 0 || reach[node] > reach[end])) end = node;
    }
  }
  const path = [end];
  while (parent[path[0]] >= 0) path.unshift(parent[path[0]]);
  let probabilities = distribution(leaf[end]);
  const part = predict === "average" ? partsOf(reach, end) : null;
  if (part) {
    probabilities = classes.map(() => 0);
    for (let node = 0; node < nodes; node++) {
      if (leaf[node] < 0) continue;
      distribution(leaf[node]).forEach((one, index) => {
        probabilities[index] += part[node] * one;
      });
    }
  }
  return { path, end, reach: reach.map(Math.exp), part, toRight, probabilities, class: likeliest(probabilities) };
}

// What comes of an average from the leaves below each node.
function partsOf(reach, most) {
  const part = reach.map((log, node) => (leaf[node] >= 0 ? Math.exp(sharpness * (log - reach[most])) : 0));
  const total = part.reduce((a, b) => a + b);
  for (let node = nodes - 1; node >= 0; node--) {
    part[node] = leaf[node] >= 0 ? part[node] / total : part[left[node]] + part[right[node]];
  }
  return part;
}

function turnOf(answer, node) {
  const rightward = answer.path.includes(right[node]);
  return { rightward, probability: rightward ? answer.toRight[node] : 1 - answer.toRight[node] };
}

// Words

function percent(share) {
  if (share === 0 || share === 1 || (share >= 0.0095 && share < 0.9905)) return `${Math.round(100 * share)}%`;
  if (share < 0.0005) return "<0.1%";
  return share >= 0.9995 ? ">99.9%" : `${(100 * share).toFixed(1)}%`;
}

function cut(text, most) {
  return [...text].length > most ? `${[...text].slice(0, most - 1).join("")}…` : text;
}

// The classes of the leaves below, those that most data reach first. A leaf that none reached has learnt nothing:
// its class is left out where there are others, unless this input ends there.
function below(node) {
  const all = [...classesBelow[node]].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  const { path, end } = current.answer;
  const here = path.includes(node) ? likeliest(distribution(leaf[end])) : null;
  const met = all.filter(([one, share]) => share > 0 || one === here);
  return (met.length ? met : all).map(([one]) => classes[one]);
}

const comma = classes.some((one) => [...one].length > 2) ? ", " : " ";

// As many names as fit in so many characters, at least one, and how many there are beside them.
function fewOf(names, characters) {
  const all = names.join(comma);
  if ([...all].length <= characters) return all;
  const room = names.length > 1 ? characters - 3 : characters;
  let said = cut(names[0], room);
  let shown = 1;
  while (shown < names.length && [...said + comma + names[shown]].length <= room) said += comma + names[shown++];
  return shown < names.length ? `${said} +${names.length - shown}` : said;
}

function number(value) {
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

function featureName(i) {
  return data.features ? data.features[i] : `feature ${i}`;
}

function many(count, one, more) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : more}`;
}

function html(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Pictures

let brightest = 255;
let darkest = 0;
if (inBytes) {
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  if (most > 0 && most < 128) brightest = most;
} else {
  brightest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  darkest = Math.min(0, values.reduce((a, b) => Math.min(a, b), Infinity));
}

function paint(canvas, colour) {
  const { width, height } = picture;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) image.data.set(colour(pixel), 4 * pixel);
  context.putImageData(image, 0, 0);
  return canvas;
}

function paintInput(canvas, input) {
  const { channels } = picture;
  const shade = (value) => (255 * (value - darkest)) / (brightest - darkest || 1);
  return paint(canvas, (pixel) => {
    const at = pixel * channels;
    if (channels === 1) return [shade(input[at]), shade(input[at]), shade(input[at]), 255];
    return [shade(input[at]), shade(input[at + 1]), shade(input[at + 2]), 255];
  });
}

let colours;

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const triple = (name) => style.getPropertyValue(name).split(",").map(Number);
  colours = { none: triple("--none"), left: triple("--left"), right: triple("--right") };
}

function diverging(share) {
  const strength = Math.min(1, Math.abs(share));
  const towards = share > 0 ? colours.right : colours.left;
  return [...colours.none.map((from, channel) => from + strength * (towards[channel] - from)), 255];
}

// One pixel that is far beyond the others would leave them all pale.
function scaleOf(amounts) {
  const sizes = Float64Array.from(amounts, Math.abs).sort();
  return sizes[Math.floor(0.995 * (sizes.length - 1))] || sizes[sizes.length - 1] || 1;
}

function weightsOf(node) {
  return weights.subarray(question[node] * features, (question[node] + 1) * features);
}

function paintQuestion(canvas, node) {
  const asked = weightsOf(node);
  const scale = scaleOf(asked);
  const { channels } = picture;
  if (channels === 1) return paint(canvas, (pixel) => diverging(asked[pixel] / scale));
  return paint(canvas, (pixel) => [0, 1, 2].map((c) => 128 + (127 * asked[pixel * channels + c]) / scale).concat(255));
}

function pushes(node, input) {
  return Array.from(weightsOf(node), (weight, i) => weight * (input[i] - centre[i]));
}

function paintPushes(canvas, node, input) {
  const { channels, width, height } = picture;
  const push = pushes(node, input);
  const sums = Array.from({ length: width * height }, (_, pixel) => {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) sum += push[pixel * channels + channel];
    return sum;
  });
  const scale = scaleOf(sums);
  return paint(canvas, (pixel) => diverging(sums[pixel] / scale));
}

let pictures = new Map();

function questionPicture(node) {
  if (!pictures.has(node)) pictures.set(node, paintQuestion(document.createElement("canvas"), node).toDataURL());
  return pictures.get(node);
}

function topFeatures(amounts, most) {
  return Array.from(amounts.keys())
    .filter((i) => amounts[i] !== 0)
    .sort((a, b) => Math.abs(amounts[b]) - Math.abs(amounts[a]) || a - b)
    .slice(0, most);
}

// What is shown

const narrow = window.matchMedia("(max-width: 860px)");
const tile = picture
  ? { width: 48, height: 48, slot: 58, folded: narrow.matches ? 68 : 84 }
  : { width: 124, height: 54, slot: 134, folded: 134 };
const leafTile = { width: picture ? 48 : 58, height: 46, slot: picture ? 58 : 68 };
const side = picture && tile.width / Math.max(picture.width, picture.height);

let shownLevels = depth;
if (narrow.matches && depth > 3) shownLevels = 2;
else if (depth > 4) shownLevels = 3;
let open = new Set();
let current = { index: 0, input: null, answer: null };
let placed = new Map();
let bounds = { width: 1, height: 1 };
const padding = 20;
const smallest = 0.45; // the scale at which a question can still be told from another
let focused = 0;

const stage = document.getElementById("stage");
const canvas = document.getElementById("tree");
const view = document.getElementById("view");
const tip = document.getElementById("tip");

function openLevels() {
  open = new Set();
  for (let node = 0; node < nodes; node++) if (level[node] < shownLevels) open.add(node);
}

function isOpen(node) {
  return question[node] >= 0 && (open.has(node) || current.answer.path.includes(node));
}

function arrange() {
  const widths = new Map();
  const measure = (node) => {
    let own = leaf[node] >= 0 ? leafTile.slot : tile.folded;
    if (isOpen(node)) own = Math.max(tile.slot, measure(left[node]) + measure(right[node]));
    widths.set(node, own);
    return own;
  };
  bounds = { width: measure(0), height: 0 };
  // Between two levels, as much room as the window has.
  const deepest = [...widths.keys()].reduce((most, node) => Math.max(most, level[node]), 1);
  const across = Math.min(1.3, Math.max(smallest, (size().width - 2 * padding) / bounds.width));
  const room = (size().height - padding - foot()) / across - tile.height - 40;
  const rise = Math.min(tile.height + (across < 0.6 ? 180 : 84), Math.max(tile.height + 40, room / deepest));
  placed = new Map();
  let lowest = 0;
  const place = (node, from) => {
    const y = level[node] * rise;
    if (!isOpen(node)) {
      placed.set(node, { x: from + widths.get(node) / 2, y });
      lowest = Math.max(lowest, y + tile.height + (leaf[node] >= 0 ? 0 : 40));
      return;
    }
    const both = widths.get(left[node]) + widths.get(right[node]);
    const start = from + (widths.get(node) - both) / 2;
    place(left[node], start);
    place(right[node], start + widths.get(left[node]));
    placed.set(node, { x: (placed.get(left[node]).x + placed.get(right[node]).x) / 2, y });
  };
  place(0, 0);
  bounds.height = lowest;
}

function edgeShape(node) {
  const from = placed.get(parent[node]);
  const to = placed.get(node);
  const start = from.y + tile.height;
  const bend = (start + to.y) / 2;
  return `M${from.x} ${start}C${from.x} ${bend} ${to.x} ${bend} ${to.x} ${to.y}`;
}

function edgeWidth(node) {
  return counted ? 1 + 15 * reached[node] : 1.5;
}

function along(node, t) {
  const from = placed.get(parent[node]);
  const to = placed.get(node);
  const start = from.y + tile.height;
  const s = 1 - t;
  const ends = [s * s * s + 3 * s * s * t, 3 * s * t * t + t * t * t];
  const bend = (start + to.y) / 2;
  return {
    x: ends[0] * from.x + ends[1] * to.x,
    y: s * s * s * start + 3 * s * s * t * bend + 3 * s * t * t * bend + t * t * t * to.y,
  };
}

function labelOf(node) {
  const { answer } = current;
  const share = counted ? `, ${percent(reached[node])} of the data` : "";
  const on = answer.path.includes(node);
  if (leaf[node] >= 0) {
    const probabilities = distribution(leaf[node]);
    const best = likeliest(probabilities);
    return `Leaf: ${classes[best]}, ${percent(probabilities[best])}${share}${on ? ". The path ends here" : ""}`;
  }
  const turn = on ? turnOf(answer, node) : null;
  const way = on ? `. On the path: ${turn.rightward ? "right" : "left"}, ${percent(turn.probability)}` : "";
  const folded = isOpen(node) ? "" : `, ${many(leavesBelow[node], "leaf", "leaves")} folded`;
  const [toLeft, toRight] = [left[node], right[node]].map((child) => below(child).join(", "));
  return `Question on level ${level[node] + 1}${share}${folded}. Left: ${toLeft}. Right: ${toRight}${way}`;
}

function drawLeaf(group, node) {
  const probabilities = distribution(leaf[node]);
  const best = likeliest(probabilities);
  const { width, height } = leafTile;
  const length = [...classes[best]].length;
  const size = length <= 2 ? 20 : length <= 5 ? 14 : 10.5;
  group.append(
    svg("rect", { class: "tile", x: -width / 2, width, height, rx: 6 }),
    svg("text", { class: "class", y: 23, "font-size": size }, cut(classes[best], width > 50 ? 9 : 7)),
    svg("text", { class: "certainty", y: 36 }, percent(probabilities[best])),
    svg("rect", { class: "track", x: -width / 2 + 6, y: 40, width: width - 12, height: 2 }),
    svg("rect", { class: "sure", x: -width / 2 + 6, y: 40, width: (width - 12) * probabilities[best], height: 2 }),
  );
}

function drawQuestion(group, node) {
  const folded = !isOpen(node);
  const width = picture ? side * picture.width : tile.width;
  const height = picture ? side * picture.height : tile.height;
  const top = (tile.height - height) / 2;
  if (folded) {
    for (const by of [6, 3]) {
      group.append(svg("rect", { class: "stacked", x: -width / 2 + by, y: top + by, width, height, rx: 3 }));
    }
  }
  group.append(svg("rect", { class: "tile", x: -width / 2, y: top, width, height, rx: picture ? 2 : 6 }));
  if (picture) {
    group.append(svg("image", { x: -width / 2, y: top, width, height, href: questionPicture(node) }));
  } else {
    const amounts = Array.from(weightsOf(node), (weight, i) => weight * spread[i]);
    const most = topFeatures(amounts, 3);
    most.forEach((i, line) => {
      const towards = amounts[i] > 0 ? "to-right" : "to-left";
      const long = (width - 12) * Math.abs(amounts[i] / amounts[most[0]]);
      const x = amounts[i] > 0 ? width / 2 - 6 - long : -width / 2 + 6;
      const y = 5 + 15 * line;
      group.append(
        svg("rect", { class: `weighs ${towards}`, x, y, width: long, height: 14, rx: 2 }),
        svg("text", { class: "feature", x: -width / 2 + 10, y: y + 10.5 }, cut(featureName(i), 15)),
        svg("text", { class: `arrow ${towards}`, x: width / 2 - 10, y: y + 10.5 }, amounts[i] > 0 ? "→" : "←"),
      );
    });
  }
  const around = { x: -width / 2 - 1, y: top - 1, width: width + 2, height: height + 2, rx: picture ? 3 : 7 };
  group.append(svg("rect", { class: "frame", ...around }));
  if (folded) {
    group.append(
      svg("text", { class: "count", y: top + height + 21 }, many(leavesBelow[node], "leaf", "leaves")),
      svg("text", { class: "below", y: top + height + 36 }, fewOf(below(node), tile.folded > 80 ? 10 : 8)),
    );
  }
}

let lastPath = "";

function render() {
  const { answer } = current;
  const kept = document.activeElement && document.activeElement.closest("#view [data-node]") ? focused : null;
  arrange();
  const edges = svg("g", { "aria-hidden": true });
  const over = svg("g", { "aria-hidden": true });
  const pills = svg("g", { "aria-hidden": true });
  const marks = svg("g");
  const falls = lastPath !== answer.path.join();
  view.classList.toggle("falls", falls);
  lastPath = answer.path.join();
  for (const node of [...placed.keys()].sort((a, b) => a - b)) {
    const on = answer.path.includes(node);
    if (parent[node] >= 0) {
      const d = edgeShape(node);
      const step = `--step:${level[node] - 1}`;
      edges.append(svg("path", { class: "edge", d, "stroke-width": edgeWidth(node) }));
      if (on) {
        const wide = Math.max(3, edgeWidth(node));
        over.append(svg("path", { class: "on", d, pathLength: 1, "stroke-width": wide, style: step }));
        const at = along(node, 0.4);
        const said = percent(turnOf(answer, parent[node]).probability);
        const half = 6 + 3.8 * said.length;
        pills.append(
          svg("g", { class: "pill", transform: `translate(${at.x} ${at.y})`, style: step },
            svg("rect", { x: -half, y: -9.5, width: 2 * half, height: 19, rx: 9.5 }),
            svg("text", { y: 4.3 }, said)),
        );
      } else if (answer.part && answer.part[node] > 0.01) {
        const wide = Math.max(3, edgeWidth(node));
        over.append(svg("path", { class: "some", d, "stroke-width": wide, "stroke-opacity": answer.part[node] }));
      }
    }
    const { x, y } = placed.get(node);
    const kind = leaf[node] >= 0 ? "leaf" : "question";
    const group = svg("g", {
      class: `${kind}${on ? " on-path" : ""}`,
      "data-node": node, transform: `translate(${x} ${y})`, tabindex: node === focused ? 0 : -1, role: "treeitem",
      "aria-level": level[node] + 1, "aria-label": labelOf(node), "aria-selected": on, style: `--step:${level[node]}`,
    });
    if (kind === "question") group.setAttribute("aria-expanded", isOpen(node));
    if (kind === "leaf") drawLeaf(group, node);
    else drawQuestion(group, node);
    marks.append(group);
  }
  view.replaceChildren(edges, over, pills, marks);
  const levels = document.getElementById("levels");
  if (levels) {
    levels.textContent = many(shownLevels, "level", "levels");
    document.getElementById("fewer").disabled = shownLevels === 0;
    document.getElementById("more").disabled = shownLevels === depth;
  }
  if (kept !== null) focusOn(placed.has(kept) ? kept : 0, false);
}

// Zoom and pan

let zoom = { scale: 1, x: 0, y: 0 };
let fitted = true;

function applyZoom() {
  view.setAttribute("transform", `translate(${zoom.x} ${zoom.y}) scale(${zoom.scale})`);
  stage.classList.toggle("zoomed", !fitted);
}

function size() {
  return { width: canvas.clientWidth, height: canvas.clientHeight };
}

// On a small screen the legend and the buttons are below the tree.
function foot() {
  return narrow.matches ? padding : 64;
}

function fit() {
  const { width, height } = size();
  const wanted = Math.min((width - 2 * padding) / bounds.width, (height - padding - foot()) / bounds.height, 1.3);
  const scale = Math.max(wanted, smallest);
  const end = placed.get(current.answer.end);
  zoom = { scale, x: (width - scale * bounds.width) / 2, y: padding };
  const spare = height - padding - foot() - scale * bounds.height;
  if (spare > 0) zoom.y += Math.min(spare / 2, 60);
  if (scale > wanted) {
    // Too large to be read as a whole: the path in the middle.
    if (scale * bounds.width > width) zoom.x = width / 2 - (scale * (end.x + placed.get(0).x)) / 2;
    const reaches = scale * Math.abs(end.x - placed.get(0).x) > width - 2 * padding;
    if (reaches) zoom.x = width / 2 - scale * end.x;
    if (reaches && scale * end.y > height / 2) zoom.y = Math.min(padding, height - foot() - scale * bounds.height);
  }
  fitted = true;
  applyZoom();
}

function zoomBy(factor, at = { x: size().width / 2, y: size().height / 2 }) {
  const scale = Math.min(4, Math.max(0.03, zoom.scale * factor));
  const by = scale / zoom.scale;
  zoom = { scale, x: at.x - by * (at.x - zoom.x), y: at.y - by * (at.y - zoom.y) };
  fitted = false;
  hideTip();
  applyZoom();
}

function panBy(x, y) {
  zoom.x += x;
  zoom.y += y;
  fitted = false;
  hideTip();
  applyZoom();
}

function onScreen(node) {
  const { x, y } = placed.get(node);
  return { x: zoom.scale * x + zoom.x, y: zoom.scale * y + zoom.y };
}

function intoView(node) {
  const { width, height } = size();
  const { x, y } = onScreen(node);
  const margin = Math.min(70, width / 4);
  const across = Math.max(0, margin - x) - Math.max(0, x - (width - margin));
  const down = Math.max(0, 20 - y) - Math.max(0, y - (height - 130));
  if (across || down) panBy(across, down);
}

const pressed = new Map();
let dragged = false;

function pointOf(event) {
  const box = canvas.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

canvas.addEventListener("wheel", (event) => {
  // Where the page itself scrolls, the wheel does that.
  if (!event.ctrlKey && document.documentElement.scrollHeight > window.innerHeight + 1) return;
  event.preventDefault();
  const step = event.deltaMode === 1 ? 30 * event.deltaY : event.deltaY;
  zoomBy(Math.exp(-0.0018 * Math.max(-250, Math.min(250, step))), pointOf(event));
}, { passive: false });

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  if (pressed.size === 0) dragged = false;
  pressed.set(event.pointerId, pointOf(event));
});
canvas.addEventListener("pointermove", (event) => {
  const before = pressed.get(event.pointerId);
  if (!before) return;
  const now = pointOf(event);
  if (!dragged && Math.hypot(now.x - before.x, now.y - before.y) < 5) return;
  if (!dragged) canvas.setPointerCapture(event.pointerId);
  dragged = true;
  if (pressed.size === 1) {
    panBy(now.x - before.x, now.y - before.y);
  } else {
    const [, other] = [...pressed].find(([id]) => id !== event.pointerId);
    const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    panBy((now.x - before.x) / 2, (now.y - before.y) / 2);
    const apart = (point) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
    zoomBy(apart(now) / apart(before), middle);
  }
  pressed.set(event.pointerId, now);
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => pressed.delete(event.pointerId));
}

function nodeOf(event) {
  const group = event.target.closest && event.target.closest("[data-node]");
  return group ? Number(group.dataset.node) : null;
}

canvas.addEventListener("click", (event) => {
  const node = nodeOf(event);
  if (node === null || dragged) return;
  focusOn(node, false);
  toggle(node);
});

function toggle(node) {
  // The path of the chosen input is always unfolded.
  if (question[node] < 0 || current.answer.path.includes(node)) return;
  const before = onScreen(node);
  if (open.has(node)) open.delete(node);
  else open.add(node);
  const whole = fitted;
  render();
  if (whole) fit();
  else {
    const after = onScreen(node);
    panBy(before.x - after.x, before.y - after.y);
  }
  showTip(node);
}

function setLevels(count) {
  shownLevels = Math.max(0, Math.min(depth, count));
  openLevels();
  hideTip();
  render();
  fit();
}

// The keyboard

function focusOn(node, visible = true) {
  focused = node;
  for (const group of view.querySelectorAll("[data-node]")) {
    group.setAttribute("tabindex", Number(group.dataset.node) === node ? 0 : -1);
  }
  const group = view.querySelector(`[data-node="${node}"]`);
  if (visible) intoView(node);
  if (group) group.focus({ preventScroll: true });
}

function childOf(node) {
  return current.answer.path.includes(right[node]) ? right[node] : left[node];
}

function beside(node, step) {
  const row = [...placed.keys()].filter((one) => level[one] === level[node]);
  row.sort((a, b) => placed.get(a).x - placed.get(b).x);
  return row[row.indexOf(node) + step];
}

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const node = nodeOf(event);
  const at = node === null ? 0 : node;
  const arrows = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  if (event.key === "+" || event.key === "=") zoomBy(1.25);
  else if (event.key === "-") zoomBy(0.8);
  else if (event.key === "0") fit();
  else if (event.key in arrows && event.shiftKey) panBy(...arrows[event.key]);
  else if (event.key === "Escape") hideTip();
  else if (event.key in arrows || event.key === "Home") {
    let next = 0;
    if (node !== null && event.key === "ArrowUp") next = parent[at];
    if (node !== null && event.key === "ArrowDown") next = isOpen(at) ? childOf(at) : undefined;
    if (node !== null && event.key === "ArrowLeft") next = beside(at, -1);
    if (node !== null && event.key === "ArrowRight") next = beside(at, 1);
    if (next !== undefined && next >= 0) focusOn(next);
  } else if ((event.key === "Enter" || event.key === " ") && node !== null) toggle(at);
  else return;
  event.preventDefault();
});

// What a node says when it is pointed at

function hideTip() {
  tip.hidden = true;
}

function barList(probabilities, most, truth = null) {
  const shown = Array.from(probabilities.keys());
  if (shown.length > most) shown.sort((a, b) => probabilities[b] - probabilities[a] || a - b);
  const best = likeliest(probabilities);
  const list = html("ul", { class: "bars" });
  for (const one of shown.slice(0, most)) {
    const item = html("li", { class: one === best ? "best" : "" },
      html("span", { class: "who", title: classes[one] }, classes[one]),
      html("span", { class: "bar" }, html("i", { style: `width:${100 * probabilities[one]}%` })),
      html("b", {}, percent(probabilities[one])));
    if (one === truth) item.firstChild.append(html("span", { class: "true" }, " true"));
    list.append(item);
  }
  if (shown.length > most) {
    const least = percent(probabilities[shown[most - 1]]);
    const rest = many(shown.length - most, "class", "classes");
    list.append(html("li", { class: "rest" }, `and ${rest} of at most ${least}`));
  }
  return list;
}

function sides(node) {
  const found = [];
  for (const [way, child] of [["left", left[node]], ["right", right[node]]]) {
    const names = below(child);
    const taken = current.answer.path.includes(child);
    found.push(html("span", { class: `side${taken ? " taken" : ""}`, title: names.join(", ") },
      html("span", { class: `to-${way}` }, way === "left" ? "← " : "→ "), fewOf(names, 26)));
  }
  return found;
}

function showTip(node) {
  if (dragged && pressed.size) return;
  const { answer } = current;
  tip.replaceChildren();
  const share = counted ? `Reached by ${percent(reached[node])} of the data. ` : "";
  const chance = answer.part && leaf[node] >= 0
    ? `This leaf has ${percent(answer.part[node])} of this input's average.`
    : `This input reaches it with ${percent(answer.reach[node])}.`;
  if (leaf[node] >= 0) {
    const best = classes[likeliest(distribution(leaf[node]))];
    tip.append(html("h3", {}, `Leaf: ${best}`), html("p", {}, share, chance), barList(distribution(leaf[node]), 10));
  } else {
    tip.append(html("h3", {}, `Question on level ${level[node] + 1}`));
    if (picture) tip.append(paintQuestion(html("canvas", { class: "large" }), node));
    tip.append(html("p", {}, share, chance));
    const on = answer.path.includes(node);
    if (!on) {
      const rightward = answer.toRight[node];
      const likelier = percent(Math.max(rightward, 1 - rightward));
      tip.append(html("p", {}, `It would turn ${rightward > 0.5 ? "right" : "left"} with ${likelier}.`));
    }
    tip.append(html("p", { class: "ways" }, ...sides(node)));
    if (!picture) tip.append(featureList(Array.from(weightsOf(node), (weight, i) => weight * spread[i]), 8));
    const click = `Click to ${isOpen(node) ? "fold" : "unfold"} ${many(leavesBelow[node], "leaf", "leaves")}.`;
    tip.append(html("p", { class: "hint" }, on ? "On the path: stays unfolded." : click));
  }
  tip.hidden = false;
  const { x, y } = onScreen(node);
  const { width, height } = size();
  const reach = (zoom.scale * tile.width) / 2 + 12;
  const start = x + reach + tip.offsetWidth < width ? x + reach : x - reach - tip.offsetWidth;
  tip.style.left = `${Math.max(4, Math.min(width - tip.offsetWidth - 4, start))}px`;
  tip.style.top = `${Math.max(4, Math.min(height - tip.offsetHeight - 4, y - 8))}px`;
}

function featureList(amounts, most) {
  const list = html("ul", { class: "features" });
  for (const i of topFeatures(amounts, most)) {
    const way = amounts[i] > 0 ? "right" : "left";
    const arrow = html("span", { class: `to-${way}` }, way === "right" ? "→ " : "← ");
    list.append(html("li", {}, arrow, featureName(i)));
  }
  return list;
}

canvas.addEventListener("pointerover", (event) => {
  const node = nodeOf(event);
  if (node !== null && event.pointerType !== "touch") showTip(node);
});
canvas.addEventListener("pointerout", (event) => {
  if (event.pointerType !== "touch") hideTip();
});
canvas.addEventListener("focusin", (event) => {
  const node = nodeOf(event);
  if (node === null) return;
  focused = node;
  showTip(node);
});
canvas.addEventListener("focusout", hideTip);

// The panel

function turnItem(node) {
  const { answer, input } = current;
  const { rightward, probability } = turnOf(answer, node);
  const item = html("li");
  if (picture) {
    const labelled = (label) => html("canvas", { role: "img", "aria-label": label, title: label });
    item.append(
      paintQuestion(labelled("the question"), node),
      paintPushes(labelled("what in this input pushes left or right"), node, input),
    );
  }
  const turn = rightward ? "right" : "left";
  const text = html("div", {},
    html("p", { class: "turn" }, html("b", { class: `to-${turn}` }, turn), ` ${percent(probability)}`),
    html("p", { class: "ways" }, ...sides(node)));
  if (!picture) {
    const push = pushes(node, input);
    const because = html("p", { class: "because" });
    topFeatures(push, 3).forEach((i, place) => {
      const way = push[i] > 0 ? "right" : "left";
      const arrow = html("span", { class: `to-${way}` }, way === "right" ? "→" : "←");
      because.append(place ? ", " : "", `${featureName(i)} ${number(input[i])} `, arrow);
    });
    text.append(because);
  }
  if (predict === "path" && probability < 0.5) {
    const why = "The other turn is likelier, but every path beyond it is less probable than this one.";
    text.append(html("p", { class: "unlikely" }, why));
  }
  item.append(text);
  return item;
}

function sentence() {
  const { answer, index } = current;
  const truth = index === null || !labels || labels[index] < 0 ? null : labels[index];
  const said = html("p", { class: "said" },
    index === null ? "For your drawing the tree answers " : "The tree answers ",
    html("b", { title: classes[answer.class] }, cut(classes[answer.class], 40)),
    `, ${percent(answer.probabilities[answer.class])}.`);
  const lines = [said];
  const verdict = truth === null ? "" : truth === answer.class
    ? html("p", { class: "helps" }, "✓ Correct.")
    : html("p", { class: "hurts", title: classes[truth] }, `✗ Its true class is ${cut(classes[truth], 40)}.`);
  const chance = percent(answer.reach[answer.end]);
  if (nodes === 1) {
    lines.push("The tree asks nothing: its answer is the same for every input.");
  } else if (predict === "average") {
    const power = sharpness === 1 ? "" : ` to the power ${number(sharpness)}`;
    lines.push(
      `The bars are the average of all ${leafCount.toLocaleString("en")} leaves, weighted by the probability of their`,
      `paths${power}. The path shown is the most probable one, and its leaf has ${percent(answer.part[answer.end])}`,
      "of the weight: no single path explains the answer fully.",
    );
  } else if (predict === "path") {
    lines.push(`Of its ${leafCount.toLocaleString("en")} paths this one is the most probable, with ${chance}.`);
    if (answer.path.some((node) => question[node] >= 0 && turnOf(answer, node).probability < 0.5)) {
      lines.push("One or more of its turns have a probability below one half: what counts is the whole path's.");
    }
  } else {
    lines.push(`It takes the likelier turn at each question; the whole path has the probability ${chance}.`);
  }
  return { truth, verdict, lines };
}

function renderPanel() {
  const { answer, input, index } = current;
  const { truth, verdict, lines } = sentence();
  const note = html("p", { class: "note" }, lines.slice(1).join(" "));
  document.getElementById("answer").replaceChildren(lines[0], verdict, note);
  const title = predict === "average" ? "Average of the leaves" : "The leaf";
  document.getElementById("bars").replaceChildren(html("h2", {}, title), barList(answer.probabilities, 12, truth));
  const turns = document.getElementById("turns");
  turns.replaceChildren(...answer.path.filter((node) => question[node] >= 0).map(turnItem));
  if (picture) paintInput(document.getElementById("seen"), input);
  [...strip.children].forEach((button, place) => {
    button.setAttribute("aria-checked", place === index);
    button.tabIndex = place === (index ?? 0) ? 0 : -1;
  });
}

function show(index, input) {
  current = { index, input, answer: walk(input) };
  hideTip();
  const whole = fitted;
  render();
  const end = onScreen(current.answer.end);
  const { width, height } = size();
  if (whole || end.x < 0 || end.y < 0 || end.x > width || end.y > height) fit();
  renderPanel();
}

// The inputs

const strip = document.getElementById("strip");

function inputAt(index) {
  return values.subarray(index * features, (index + 1) * features);
}

rows.forEach((row, index) => {
  const answer = walk(inputAt(index));
  const truth = labels && labels[index] >= 0 ? labels[index] : null;
  const wrong = truth !== null && truth !== answer.class;
  const known = truth === null ? "" : `, true class ${classes[truth]}`;
  const label = `Row ${row}${known}; the tree says ${classes[answer.class]}${wrong ? ": wrong" : ""}`;
  const button = html("button", { type: "button", role: "radio", "aria-label": label, title: label });
  button.classList.toggle("wrong", wrong);
  button.append(
    picture ? paintInput(html("canvas"), inputAt(index)) : html("span", { class: "row" }, `row ${row}`),
    html("span", { class: "truth-label" }, truth === null ? " " : cut(classes[truth], 8)),
  );
  button.addEventListener("click", () => choose(index));
  strip.append(button);
});

strip.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const next = strip.children[(current.index ?? 0) + step];
  if (!step) return;
  event.preventDefault();
  if (!next) return;
  choose((current.index ?? 0) + step);
  next.focus();
});

function choose(index) {
  if (!(index >= 0 && index < rows.length)) throw new RangeError(`input ${index}: expected 0 to ${rows.length - 1}`);
  clearPad();
  show(index, inputAt(index));
}

// Drawing

const pad = document.getElementById("pad");
const brush = pad && pad.getContext("2d", { willReadFrequently: true });
let lastPoint = null;
let waiting = false;

function clearPad() {
  if (!pad) return;
  brush.clearRect(0, 0, pad.width, pad.height);
  pad.classList.remove("used");
  document.getElementById("clear").disabled = true;
}

function ink() {
  const { data: pixels } = brush.getImageData(0, 0, pad.width, pad.height);
  return Float32Array.from({ length: pad.width * pad.height }, (_, i) => pixels[4 * i + 3] / 255);
}

// Shares of ink in (height, width) pixels, each the mean over its own square of the pad.
function sampled(drawn, scale, x, y) {
  const { width, height } = picture;
  const fine = 8;
  return Float32Array.from({ length: width * height }, (_, pixel) => {
    let sum = 0;
    for (let i = 0; i < fine; i++) {
      for (let j = 0; j < fine; j++) {
        const column = Math.floor(((pixel % width) + (j + 0.5) / fine) / scale + x);
        const row = Math.floor((Math.floor(pixel / width) + (i + 0.5) / fine) / scale + y);
        if (column >= 0 && column < pad.width && row >= 0 && row < pad.height) sum += drawn[row * pad.width + column];
      }
    }
    return sum / (fine * fine);
  });
}

// Null where nothing is drawn. 28 by 28 pixels as MNIST's were made: the ink fitted into 20 by 20 pixels, its centre
// of mass in the middle.
function seenOf(drawn) {
  let [total, sumX, sumY] = [0, 0, 0];
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  drawn.forEach((share, i) => {
    if (share < 0.02) return;
    const [x, y] = [i % pad.width, Math.floor(i / pad.width)];
    total += share;
    sumX += share * (x + 0.5);
    sumY += share * (y + 0.5);
    [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x + 1), Math.max(y1, y + 1)];
  });
  if (!total) return null;
  let shares;
  if (picture.width === 28 && picture.height === 28) {
    const scale = 20 / Math.max(x1 - x0, y1 - y0, 40);
    shares = sampled(drawn, scale, sumX / total - 14 / scale, sumY / total - 14 / scale);
  } else {
    shares = sampled(drawn, Math.min(picture.width / pad.width, picture.height / pad.height), 0, 0);
  }
  const value = (share) => darkest + share * (brightest - darkest);
  return shares.map((share) => (inBytes ? Math.round(value(share)) : value(share)));
}

function draw(pixels) {
  if (pixels.length !== features) throw new RangeError(`${pixels.length} pixels: expected ${features}`);
  show(null, Float32Array.from(pixels));
}

function ask() {
  waiting = false;
  const seen = seenOf(ink());
  if (seen) draw(seen);
}

function padPoint(event) {
  const box = pad.getBoundingClientRect();
  const [across, down] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  return { x: across * pad.width, y: down * pad.height };
}

function stroke(to) {
  // About two of MNIST's pixels, and in coarser images one and a half of theirs.
  const lineWidth = Math.max(20, (1.5 * pad.width) / Math.max(picture.width, picture.height));
  Object.assign(brush, { lineWidth, lineCap: "round", strokeStyle: "#fff", shadowColor: "#fff", shadowBlur: 5 });
  brush.beginPath();
  brush.moveTo(lastPoint.x, lastPoint.y);
  brush.lineTo(to.x, to.y + 0.01);
  brush.stroke();
  lastPoint = to;
  if (!waiting) requestAnimationFrame(ask);
  waiting = true;
}

if (pad) {
  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    pad.classList.add("used");
    document.getElementById("clear").disabled = false;
    lastPoint = padPoint(event);
    stroke(lastPoint);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!lastPoint) return;
    const between = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const one of [...between, event]) stroke(padPoint(one));
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    pad.addEventListener(kind, () => {
      lastPoint = null;
    });
  }
  document.getElementById("clear").addEventListener("click", () => choose(0));
}

// Light and dark

const theme = document.getElementById("theme");
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : systemDark.matches;
}

function recolour() {
  theme.textContent = isDark() ? "Light" : "Dark";
  readColours();
  pictures = new Map();
  if (!current.answer) return;
  render();
  renderPanel();
}

theme.hidden = false;
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  recolour();
});
systemDark.addEventListener("change", recolour);

// The start

const buttons = {
  fewer: () => setLevels(shownLevels - 1),
  more: () => setLevels(shownLevels + 1),
  in: () => zoomBy(1.25),
  out: () => zoomBy(0.8),
  fit,
};
for (const [id, act] of Object.entries(buttons)) {
  const button = document.getElementById(id);
  if (button) button.addEventListener("click", act);
}
const shares = document.getElementById("shares");
if (shares) shares.hidden = !counted;

recolour();
openLevels();
choose(0);
let laidOut = size();
new ResizeObserver(() => {
  const now = size();
  if (!fitted || (now.width === laidOut.width && now.height === laidOut.height)) return;
  laidOut = now;
  hideTip();
  render();
  fit();
}).observe(canvas);

window.tree = {
  choose,
  draw,
  get path() {
    return [...current.answer.path];
  },
  get class() {
    return current.answer.class;
  },
  get probabilities() {
    return [...current.answer.probabilities];
  },
};
