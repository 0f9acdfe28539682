"use strict";
(() => {
const TEXTS = {
  en: {
    lead: "How humans write, bucket by bucket: the distribution of each feature over the human responses of each bucket.",
    buckets: "Buckets", feature: "One feature", bucket: "One bucket", compare: "Compare two",
    humans: "human responses", many: "buckets", features: "features", variant: "feature set",
    unit: "unit of lengths", edges: "length edges", labels: "labels", minimum: "humans a feature needs",
    words: "words", tokens: "tokens", characters: "characters", "words-paper": "words (paper)",
    id: "bucket", rows: "rows", share: "share", median: "median", spread: "q10–q90", backs: "back off", backing: "features back off", histogram: "histogram of",
    backsTitle: "features with too few humans here: an ancestor's are used",
    find: "Find a feature", findBucket: "Find buckets", order: "order", height: "height", own: "each its own", common: "the same",
    byId: "as listed", byRows: "most rows first", byMedian: "by median", byGroup: "by group", byName: "by name",
    byOdd: "most unusual first", byDifference: "largest difference first",
    legendBars: "share of humans", legendBox: "middle half (q25–q75)", legendBand: "middle 80% (q10–q90)", legendMedian: "median",
    legendRange: "smallest to largest", legendTypical: "median of all buckets' medians",
    none: "Nothing matches.", noHumans: "No humans with this feature.", few: "few humans: backs off",
    mean: "mean", std: "standard deviation", min: "smallest", max: "largest", count: "humans", beyond: "beyond the axis",
    here: "here", log: "logarithmic axis", linear: "linear axis", counted: "Unit: ", defined: "languages: ", swap: "Swap", difference: "difference",
    dark: "Dark", light: "Light", theme: "Colours: light or dark", onlyOne: "There is only one bucket.",
    compareNote: "Difference: the largest gap between the two cumulative distributions (Kolmogorov–Smirnov), 0 for equal to 1 for apart, from the bars drawn.",
    footArea: "The area of a bar is the share of humans in it. What lies beyond the axis is not drawn; the values under the pointer say how much it is.",
    footBack: (least) => `A feature with fewer than ${least} humans in a bucket backs off: scores use the nearest ancestor's. What is drawn here is always the bucket's own.`,
    footKeys: "Keys: / finds, ↑ ↓ move in lists, 1–4 change the view.",
    old: "This page needs a browser of 2023 or later.", broken: "The numbers of this page are damaged.",
  },
  zh: {
    lead: "人类怎样写作，逐桶呈现：每个桶内的人类回复在各项特征上的分布。",
    buckets: "全部桶", feature: "单个特征", bucket: "单个桶", compare: "两桶对比",
    humans: "条人类回复", many: "个桶", features: "项特征", variant: "特征集",
    unit: "长度单位", edges: "长度分界", labels: "标签", minimum: "特征所需最少人数",
    words: "词", tokens: "词元", characters: "字符", "words-paper": "词（论文）",
    id: "桶", rows: "条数", share: "占比", median: "中位数", spread: "q10–q90", backs: "回退", backing: "项特征回退", histogram: "直方图：",
    backsTitle: "此处样本过少、改用上级分布的特征数",
    find: "查找特征", findBucket: "查找桶", order: "排序", height: "高度", own: "各自缩放", common: "统一",
    byId: "原顺序", byRows: "条数从多到少", byMedian: "按中位数", byGroup: "按组", byName: "按名称",
    byOdd: "最特别的在前", byDifference: "差异最大的在前",
    legendBars: "人类占比", legendBox: "中间 50%（q25–q75）", legendBand: "中间 80%（q10–q90）", legendMedian: "中位数",
    legendRange: "最小至最大", legendTypical: "各桶中位数的中位数",
    none: "没有匹配项。", noHumans: "没有具备此特征的人类样本。", few: "样本过少：回退",
    mean: "均值", std: "标准差", min: "最小", max: "最大", count: "人数", beyond: "超出坐标轴",
    here: "此处", log: "对数坐标轴", linear: "线性坐标轴", counted: "单位：", defined: "适用：", swap: "互换", difference: "差异",
    dark: "深色", light: "浅色", theme: "配色：浅色或深色", onlyOne: "只有一个桶。",
    compareNote: "差异：两条累积分布之间的最大差距（柯尔莫哥洛夫–斯米尔诺夫统计量），0 为相同，1 为完全分离，由所绘柱形算得。",
    footArea: "柱的面积即该区间内的人类占比。超出坐标轴的部分不绘出，指针提示中注明其占比。",
    footBack: (least) => `桶内某特征的人数少于 ${least} 时会回退：评分时使用最近的上级分布。此处所绘始终是该桶自身的分布。`,
    footKeys: "快捷键：/ 查找，↑ ↓ 在列表中移动，1–4 切换视图。",
    old: "本页需要 2023 年以后的浏览器。", broken: "本页的数据已损坏。",
  },
};
const STATISTICS = ["mean", "std", "min", "q10", "q25", "q50", "q75", "q90", "max", "tallest", "beyond"];
const VIEWS = ["buckets", "feature", "bucket", "compare"];
const SVG = "http://www.w3.org/2000/svg";

const about = JSON.parse(document.getElementById("about").textContent);
const page = document.getElementById("page"), tip = document.getElementById("tip");
const { features, buckets } = about;
const total = buckets.reduce((sum, bucket) => sum + bucket.rows, 0);
const narrow = matchMedia("(max-width: 800px)");

// --- The numbers: see _encode in _page.py.

let statistics, counts, heights, offsets;

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function unpack(bytes) {
  const cells = features.length * buckets.length, words = cells * (1 + STATISTICS.length);
  const joined = new Uint8Array(words * 4);
  for (let plane = 0; plane < 4; plane++) {
    for (let word = 0; word < words; word++) joined[word * 4 + plane] = bytes[plane * words + word];
  }
  const view = new DataView(joined.buffer);
  counts = Uint32Array.from({ length: cells }, (_, cell) => view.getUint32(cell * 4, true));
  statistics = Float32Array.from({ length: words - cells }, (_, place) => view.getFloat32((cells + place) * 4, true));
  heights = bytes.subarray(words * 4);
  offsets = [];
  let offset = 0;
  for (const feature of features) {
    offsets.push(offset);
    offset += feature.axis.bars * buckets.length;
  }
  if (heights.length !== offset) throw new Error("length");
}

/** The numbers of a feature in a bucket, or null without humans. */
function cellOf(f, b) {
  const place = f * buckets.length + b, cells = features.length * buckets.length;
  if (!counts[place]) return null;
  const cell = { f, b, count: counts[place] };
  STATISTICS.forEach((name, column) => { cell[name] = statistics[column * cells + place]; });
  const bars = features[f].axis.bars, start = offsets[f] + b * bars;
  const edges = edgesOf(features[f].axis);
  cell.heights = Array.from(heights.subarray(start, start + bars), (height) => height / 255 * cell.tallest);
  cell.shares = cell.heights.map((height, bar) => height * (edges[bar + 1] - edges[bar]) * bars);
  return cell;
}

// --- Axes: values, positions between 0 and 1, texts.

const forward = (axis, value) => axis.log ? Math.asinh(value / axis.scale) : value;
const backward = (axis, place) => axis.log ? Math.sinh(place) * axis.scale : place;
const position = (axis, value) => (forward(axis, value) - axis.low) / (axis.high - axis.low);
/** Where the bars begin and the last one ends, between 0 and 1. */
const edgesOf = (axis) => axis.places ||= axis.edges ? axis.edges.map((value) => position(axis, value))
  : Array.from({ length: axis.bars + 1 }, (_, bar) => bar / axis.bars);
const barAt = (axis, place) => Math.max(0, edgesOf(axis).findLastIndex((edge, bar) => edge <= place && bar < axis.bars));
const inside = (place) => Math.min(1, Math.max(0, place));

/** A value in the feature's own manner: whole numbers whole, shares in percent. */
function say(feature, value) {
  if (feature.unit === "share") return percent(value);
  if (feature.axis.whole && Number.isInteger(value)) return value.toLocaleString("en-US");
  return digits(value);
}
function digits(value) {
  const size = Math.abs(value);
  if (size >= 1e7) return value.toExponential(2);
  if (size >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}
const percent = (share) => share > 0 && share < 0.0001 ? "<0.01%" : `${Number((share * 100).toPrecision(share < 0.1 ? 2 : 3))}%`;

/** Up to `most` values to label an axis at. */
function ticksOf(axis, most) {
  const low = backward(axis, axis.low), high = backward(axis, axis.high);
  let values = [];
  if (axis.log) {
    for (const mantissas of [[1, 2, 5], [1, 3], [1], null]) {
      const steps = [];
      for (let power = Math.floor(Math.log10(axis.scale)); power <= 9; power++) {
        if (mantissas) steps.push(...mantissas.map((mantissa) => mantissa * 10 ** power));
        else if (power % 2 === 0) steps.push(10 ** power);
      }
      const grown = steps.filter((value) => value >= axis.scale * 0.999);
      values = [...grown.map((value) => -value).reverse(), 0, ...grown].filter((value) => value >= low && value <= high);
      if (values.length <= most) break;
    }
    return values;
  }
  const rough = (high - low) / (most - 1), power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((mantissa) => mantissa * power).find((candidate) => candidate >= rough);
  if (axis.whole) step = Math.max(1, step);
  for (let value = Math.ceil(low / step - 1e-9); value * step <= high + step * 1e-9; value++) values.push(value * step || 0);
  return values;
}

// --- Words.

const text = (key) => TEXTS[state.lang][key];
const inChinese = (kind, name) => (state.lang === "zh" && about.zh[kind][name]) || name;
const shortName = (feature) => state.lang === "zh" ? about.zh.features[feature.name] : undefined;
const number = (count) => count.toLocaleString("en-US");
const definitionOf = (feature) => (state.lang === "zh" && about.zh.definitions[feature.name]) || feature.definition;
const unitOf = (feature) => inChinese("units", feature.unit);

// --- State, kept in the address so that a view can be linked to.

const USUAL = { view: "buckets", feature: null, bucket: null, other: null, lang: null, theme: null, order: "", sort: "", height: "own", find: "" };
const state = { ...USUAL };

function readState() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const key of Object.keys(state)) if (given.has(key)) state[key] = given.get(key);
  if (!VIEWS.includes(state.view)) state.view = "buckets";
  if (!(state.lang in TEXTS)) state.lang = (navigator.language || "").startsWith("zh") ? "zh" : "en";
  if (!["light", "dark"].includes(state.theme)) state.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const named = (list, key, name) => Math.max(0, list.findIndex((item) => item[key] === name));
  const usual = ["word_count", "char_count"].find((name) => features.some((feature) => feature.name === name));
  const f = named(features, "name", state.feature ?? usual), b = named(buckets, "bucket", state.bucket);
  let o = buckets.findIndex((item) => item.bucket === state.other);
  if (o < 0) o = b === 0 ? Math.min(1, buckets.length - 1) : 0;
  return { f, b, o };
}

function go(change) {
  Object.assign(state, change);
  remember();
  draw();
}

function remember() {
  const kept = new URLSearchParams(Object.entries(state).filter(([key, value]) => value !== USUAL[key]));
  try {
    history.replaceState(null, "", `#${kept}`);
  } catch {
    // A page within another, or a preview, may have no address of its own; it works without.
  }
}

// --- Elements. Texts only ever enter the page as text.

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  return fill(element, attributes, children);
}
function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}
/** A name that may break after the marks that part it. */
const breakable = (name) => name.split(/(?<=[|_])/).flatMap((part, place) => place ? [h("wbr"), part] : [part]);
const id = (bucket) => h("bdi", { class: "id" }, bucket.bucket === "" ? "∅" : breakable(bucket.bucket));
const code = (feature) => h("code", {}, breakable(feature.name));

// --- Drawing. A plot is 1000 units wide and stretched to its box; labels are set beside it in percent.

function plot(content, tall, data, label) {
  const svg = s("svg", { viewBox: `0 0 1000 ${tall}`, preserveAspectRatio: "none", "aria-hidden": "true" }, content);
  return h("div", { class: "plot", role: "img", "aria-label": label, "data-f": data.f, "data-b": data.b, "data-o": data.o }, svg);
}

/** The outline of a cell's bars with their feet at `foot`, the highest possible, of height `top`, drawn `tall`. */
function barsPath(cell, top, foot, tall) {
  const edges = edgesOf(features[cell.f].axis);
  let path = `M0 ${foot}`;
  cell.heights.forEach((height, bar) => {
    path += `V${(foot - Math.min(1, height / top) * tall).toFixed(1)}H${(edges[bar + 1] * 1000).toFixed(1)}`;
  });
  return `${path}V${foot}`;
}

function span(axis, low, high, attributes) {
  // A whole number is as wide as the bar around it.
  const half = axis.whole ? 0.5 : 0;
  const left = inside(position(axis, low - half)) * 1000, right = inside(position(axis, high + half)) * 1000;
  return s("rect", { x: left, width: Math.max(right - left, 0.01), ...attributes });
}

function stroke(axis, value, top, foot, kind) {
  const x = inside(position(axis, value)) * 1000;
  return s("line", { x1: x, x2: x, y1: top, y2: foot, class: kind });
}

function histogram(cell, top) {
  const { axis } = features[cell.f];
  return plot([
    span(axis, cell.q10, cell.q90, { y: 0, height: 100, class: "band" }),
    span(axis, cell.q25, cell.q75, { y: 0, height: 100, class: "box" }),
    s("path", { d: barsPath(cell, top || cell.tallest, 100, 96), class: "bars" }),
    s("line", { x1: 0, x2: 1000, y1: 100, y2: 100, class: "line" }),
    stroke(axis, cell.q50, 0, 100, "median"),
  ], 100, cell, describe(cell));
}

function strip(cell) {
  const { axis } = features[cell.f];
  const left = inside(position(axis, cell.min)) * 1000, right = inside(position(axis, cell.max)) * 1000;
  return plot([
    s("path", { d: barsPath(cell, cell.tallest, 22, 21), class: "bars faint" }),
    s("line", { x1: left, x2: right, y1: 30, y2: 30, class: "range" }),
    span(axis, cell.q10, cell.q90, { y: 26.5, height: 7, class: "solid wide" }),
    span(axis, cell.q25, cell.q75, { y: 25, height: 10, class: "solid" }),
    stroke(axis, cell.q50, 24, 36, "median"),
  ], 36, cell, describe(cell));
}

function overlay(one, two) {
  const { axis } = features[one.f], top = Math.max(one.tallest, two.tallest);
  return plot([
    s("path", { d: barsPath(one, top, 72, 70), class: "bars a" }),
    s("path", { d: barsPath(two, top, 72, 70), class: "outline" }),
    s("line", { x1: 0, x2: 1000, y1: 72, y2: 72, class: "line" }),
    ...[[one, "", 78], [two, " b", 90]].flatMap(([cell, kind, y]) => [
      span(axis, cell.q10, cell.q90, { y, height: 8, class: `solid wide${kind}` }),
      span(axis, cell.q25, cell.q75, { y, height: 8, class: `solid${kind}` }),
    ]),
    stroke(axis, one.q50, 0, 86, "median a"),
    stroke(axis, two.q50, 0, 98, "median b"),
  ], 100, { f: one.f, b: one.b, o: two.b }, `${describe(one)}; ${describe(two)}`);
}

function ticks(feature, most) {
  const labels = ticksOf(feature.axis, most).map((value) => {
    const place = position(feature.axis, value);
    const edge = place < 0.04 ? "first" : place > 0.96 ? "last" : "";
    return h("span", { class: edge, style: { left: `${place * 100}%` } }, say(feature, value));
  });
  return h("div", { class: "ticks", "aria-hidden": "true" }, labels);
}

function describe(cell) {
  const feature = features[cell.f];
  return `${feature.name}, ${buckets[cell.b].bucket}: ${text("median")} ${say(feature, cell.q50)}, ` +
    `q10–q90 ${say(feature, cell.q10)}–${say(feature, cell.q90)}, ${text("count")} ${number(cell.count)}`;
}

const few = (cell) => cell.count < about.min_count;

/** The largest gap between the cumulative shares of two cells of a feature. */
function gap(one, two) {
  let sum = 0, largest = 0;
  one.shares.forEach((share, bar) => {
    sum += share - two.shares[bar];
    largest = Math.max(largest, Math.abs(sum));
  });
  return Math.min(1, largest);
}

// --- The parts of the page.

function heading() {
  const { schema } = about;
  const edges = Array.isArray(schema.length_edges) ? schema.length_edges.join(", ")
    : schema.length_edges && typeof schema.length_edges === "object"
      ? Object.entries(schema.length_edges).map(([language, ends]) => `${language}: ${[].concat(ends).join(", ")}`).join("; ")
      : schema.length_edges;
  const facts = [
    [number(total), "humans"], [number(buckets.length), "many"], [number(features.length), "features"],
    [schema.length_unit && (text(schema.length_unit) || schema.length_unit), "unit"], [edges, "edges"],
    [about.min_count, "minimum"], [(about.labels || []).join(", "), "labels"],
    [[about.variant, about.registry && about.registry.version].filter(Boolean).join(" · v"), "variant"],
  ].filter(([value]) => value !== undefined && value !== null && value !== "");
  const other = state.lang === "en" ? "zh" : "en";
  const theme = state.theme === "light" ? "dark" : "light";
  return [
    h("header", {},
      h("h1", {}, h("bdi", {}, about.title)),
      h("div", { class: "switches" },
        h("button", { id: "lang", lang: other === "zh" ? "zh-CN" : "en", onclick: () => go({ lang: other }) }, other === "zh" ? "中文" : "English"),
        h("button", { id: "theme", title: text("theme"), onclick: () => go({ theme }) }, text(theme)))),
    h("p", { class: "lead" }, text("lead")),
    h("dl", { class: "facts" }, facts.map(([value, key]) => h("div", {}, h("dt", {}, text(key)), h("dd", {}, String(value))))),
    h("nav", { role: "tablist", onkeydown: moveTab }, VIEWS.map((view) => h("button", {
      role: "tab", id: `tab-${view}`, "aria-selected": String(state.view === view), tabindex: state.view === view ? 0 : -1, onclick: () => go({ view }),
    }, text(view)))),
  ];
}

function moveTab(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const view = VIEWS[(VIEWS.indexOf(state.view) + step + VIEWS.length) % VIEWS.length];
  go({ view });
  document.getElementById(`tab-${view}`).focus();
}

const words = (query) => query.toLowerCase().split(/\s+/).filter(Boolean);
const matches = (query, ...texts) => {
  const all = texts.join(" ").toLowerCase();
  return words(query).every((word) => all.includes(word));
};

/** A list to choose from, with a box to search it; `groups` are [heading, [[label, hint, searched, chosen, choose]]]. */
function picker(title, hint, groups) {
  const list = h("div", { class: "choices", onkeydown: moveChoice });
  const show = (query) => {
    list.replaceChildren();
    for (const [name, choices] of groups) {
      const found = choices.filter(([, , searched]) => matches(query, searched));
      if (found.length && name) list.append(h("h3", {}, name));
      for (const [label, more, , chosen, choose] of found) {
        list.append(h("button", { "aria-current": String(chosen), onclick: () => { picker.scroll = list.scrollTop; choose(); } },
          label, more && h("span", { class: "soft" }, ` ${more}`)));
      }
    }
    if (!list.firstChild) list.append(h("p", { class: "none" }, text("none")));
  };
  show("");
  const search = h("input", {
    type: "search", placeholder: hint, "aria-label": hint, oninput: (event) => show(event.target.value),
    onkeydown: (event) => { if (event.key === "ArrowDown") { event.preventDefault(); list.querySelector("button")?.focus(); } },
  });
  return h("details", { class: "picker", open: !narrow.matches }, h("summary", {}, title), search, list);
}

function moveChoice(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const all = [...event.currentTarget.querySelectorAll("button")];
  const next = all[all.indexOf(document.activeElement) + step];
  if (next) next.focus(); else if (step < 0) event.currentTarget.previousElementSibling.focus();
}

function choice(label, key, options, fallback) {
  const value = options.includes(state[key]) ? state[key] : fallback || options[0];
  return h("label", {}, text(label), h("select", { "data-key": key, onchange: (event) => go({ [key]: event.target.value }) },
    options.map((option) => h("option", { value: option, selected: option === value }, text(option)))));
}
const chosen = (key, options) => options.includes(state[key]) ? state[key] : options[0];

function bucketSearch(redraw) {
  return h("input", { type: "search", placeholder: text("findBucket"), "aria-label": text("findBucket"), value: state.find,
    oninput: (event) => { state.find = event.target.value; remember(); redraw(); } });
}

const groupNames = () => [...new Set(features.map((feature) => feature.group))];
const featureOptions = (f) => groupNames().map((group) => h("optgroup", { label: inChinese("groups", group) },
  features.flatMap((feature, place) => feature.group !== group ? [] : [
    h("option", { value: feature.name, selected: place === f }, shortName(feature) ? `${feature.name} ${shortName(feature)}` : feature.name)])));

function bucketsView({ f }) {
  const feature = features[f];
  const axisNames = buckets.every((bucket) => bucket.parts.length === about.schema.axes.length) && about.schema.axes.length > 1
    ? about.schema.axes.map((axis) => typeof axis === "string" ? axis : axis.name) : [];
  const rows = buckets.map((bucket, b) => ({ bucket, b, cell: cellOf(f, b) }));
  const median = (row) => row.cell ? row.cell.q50 : -Infinity;
  const columns = [
    ["id", "", (one, two) => one.b - two.b, text("id")],
    ...axisNames.map((axis, place) => [`axis${place}`, "wide", (one, two) => one.bucket.parts[place] < two.bucket.parts[place] ? -1 : one.bucket.parts[place] > two.bucket.parts[place] ? 1 : 0,
      inChinese("axes", axis)]),
    ["rows", "end", (one, two) => two.bucket.rows - one.bucket.rows, text("rows")],
    ["share", "wide", null, text("share")],
    ["plot", "", null, ""],
    ["median", "end", (one, two) => median(one) - median(two), text("median")],
    ["spread", "end wide", null, text("spread")],
    ["backs", "end", (one, two) => two.bucket.backed_off - one.bucket.backed_off, text("backs")],
  ];
  const [key, down] = state.sort.split("-");
  const compare = (columns.find(([name]) => name === key) || columns[0])[2];
  if (compare) rows.sort((one, two) => (down ? -1 : 1) * compare(one, two) || one.b - two.b);
  const most = Math.max(1, ...buckets.map((bucket) => bucket.rows));
  const body = h("tbody");
  const show = () => {
    const found = rows.filter(({ bucket }) => matches(state.find, bucket.bucket));
    body.replaceChildren(...found.map(({ bucket, b, cell }) => h("tr", {},
      h("td", { class: "bucket" }, h("button", { onclick: () => go({ view: "bucket", bucket: bucket.bucket }) }, id(bucket))),
      axisNames.map((_, place) => h("td", { class: "wide" }, h("bdi", {}, bucket.parts[place]))),
      h("td", { class: "end number" }, number(bucket.rows)),
      h("td", { class: "wide" }, h("span", { class: "share number" },
        h("span", {}, h("i", { style: { width: `${bucket.rows / most * 100}%` } })), h("span", {}, percent(bucket.rows / Math.max(1, total))))),
      h("td", {}, cell && strip(cell)),
      h("td", { class: "end number" }, cell ? say(feature, cell.q50) : "–"),
      h("td", { class: "end number wide" }, cell ? `${say(feature, cell.q10)}–${say(feature, cell.q90)}` : "–"),
      h("td", { class: "end number" }, bucket.backed_off ? h("span", { class: "back" }, number(bucket.backed_off)) : "0"))));
    if (!found.length) body.append(h("tr", {}, h("td", { colspan: columns.length, class: "none" }, text("none"))));
  };
  show();
  const head = columns.map(([name, kind, order, label]) => {
    const sorted = name === (key || "id");
    const mark = sorted ? (down ? " ▾" : " ▴") : "";
    return h("th", { class: kind, scope: "col", title: name === "backs" ? text("backsTitle") : undefined, "aria-sort": sorted ? (down ? "descending" : "ascending") : undefined },
      order ? h("button", { "data-sort": name, onclick: () => go({ sort: sorted && !down ? `${name}-down` : name }) }, label + mark)
        : name === "plot" ? ticks(feature, narrow.matches ? 3 : 5) : label);
  });
  return [
    h("div", { class: "controls" },
      bucketSearch(show),
      h("label", {}, text("histogram"), h("select", { id: "histogram", onchange: (event) => go({ feature: event.target.value }) }, featureOptions(f)))),
    h("p", { class: "soft small" }, featureLine(feature)),
    legend(["bars", "median", "solid", "wide", "range"]),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head)), body)),
  ];
}

function featureLine(feature) {
  const facts = [`${text("counted")}${unitOf(feature)}`, `${text("defined")}${inChinese("languages", feature.languages)}`, text(feature.axis.log ? "log" : "linear")];
  return `${definitionOf(feature)} ${facts.join(" · ")}`;
}

function legend(kinds) {
  const key = { bars: "legendBars", box: "legendBox", band: "legendBand", solid: "legendBox", wide: "legendBand", range: "legendRange",
    median: "legendMedian", typical: "legendTypical" };
  const swatch = { bars: "bar", median: "mark", wide: "outer" };
  return h("div", { class: "legend" }, kinds.map((kind) => h("span", {}, h("i", { class: swatch[kind] || kind }), text(key[kind]))));
}

function featurePicker(f) {
  const title = shortName(features[f]) || features[f].name;
  return picker(title, text("find"), groupNames().map((group) => [inChinese("groups", group),
    features.flatMap((feature, place) => feature.group !== group ? [] : [[
      code(feature), shortName(feature),
      `${feature.name} ${feature.definition} ${about.zh.features[feature.name] || ""} ${group} ${about.zh.groups[group] || ""}`,
      place === f, () => go({ feature: feature.name }),
    ]])]));
}

function featureView({ f }) {
  const feature = features[f];
  const orders = ["byId", "byRows", "byMedian"];
  const cells = buckets.map((_, b) => cellOf(f, b)).filter(Boolean);
  const order = chosen("order", orders);
  if (order === "byRows") cells.sort((one, two) => two.count - one.count || one.b - two.b);
  if (order === "byMedian") cells.sort((one, two) => one.q50 - two.q50 || one.mean - two.mean || one.b - two.b);
  const grid = h("div", { class: "cards" });
  const show = () => {
    const found = cells.filter((cell) => matches(state.find, buckets[cell.b].bucket));
    const enough = found.filter((cell) => !few(cell));
    const top = state.height === "common" ? Math.max(...(enough.length ? enough : found).map((cell) => cell.tallest)) : 0;
    grid.replaceChildren(...found.map((cell) => h("article", { class: "card" },
      h("div", { class: "head" },
        h("button", { title: buckets[cell.b].bucket, onclick: () => go({ view: "bucket", bucket: buckets[cell.b].bucket }) }, id(buckets[cell.b])),
        h("span", { class: "soft small number" }, number(cell.count))),
      histogram(cell, top), ticks(feature, 6),
      h("div", { class: "foot" },
        h("span", {}, `${text("median")} `, h("b", {}, say(feature, cell.q50))),
        few(cell) ? h("span", { class: "back" }, text("few")) : h("span", {}, `q10–q90 ${say(feature, cell.q10)}–${say(feature, cell.q90)}`)))));
    if (!found.length) grid.append(h("p", { class: "none" }, text(cells.length ? "none" : "noHumans")));
  };
  show();
  return h("div", { class: "split" }, featurePicker(f), h("section", {},
    h("h2", {}, code(feature), shortName(feature) && ` ${shortName(feature)}`),
    h("p", { class: "lead" }, featureLine(feature)),
    h("div", { class: "controls" }, bucketSearch(show), choice("order", "order", orders), choice("height", "height", ["own", "common"])),
    legend(["bars", "box", "band", "median"]), grid));
}

/** The median of the medians of all buckets with enough humans, and the usual width of their middle half. */
function typicalOf(f) {
  const first = f * buckets.length, cells = features.length * buckets.length;
  const of = (name, place) => statistics[STATISTICS.indexOf(name) * cells + first + place];
  const enough = buckets.map((_, place) => place).filter((place) => counts[first + place] >= Math.max(1, about.min_count));
  if (!enough.length) return null;
  const middle = (values) => values.sort((one, two) => one - two)[values.length >> 1];
  return { median: middle(enough.map((place) => of("q50", place))), width: middle(enough.map((place) => of("q75", place) - of("q25", place))) };
}

function bucketPicker(b) {
  return picker(h("bdi", {}, buckets[b].bucket), text("findBucket"), [["", buckets.map((bucket, place) => [
    id(bucket), number(bucket.rows), bucket.bucket, place === b, () => go({ bucket: bucket.bucket })])]]);
}

function bucketView({ b }) {
  const bucket = buckets[b];
  const orders = ["byGroup", "byOdd", "byName"];
  const order = chosen("order", orders);
  const rows = features.map((feature, f) => ({ feature, f, cell: cellOf(f, b), typical: typicalOf(f) })).filter(({ cell }) => cell);
  const odd = ({ feature, cell, typical }) => typical ? Math.abs(cell.q50 - typical.median) / Math.max(typical.width, feature.scale) : 0;
  if (order === "byOdd") rows.sort((one, two) => odd(two) - odd(one));
  if (order === "byName") rows.sort((one, two) => one.feature.name < two.feature.name ? -1 : 1);
  const groups = order === "byGroup" ? groupNames().map((group) => [inChinese("groups", group), rows.filter(({ feature }) => feature.group === group)]) : [["", rows]];
  const names = about.schema.axes.map((axis) => typeof axis === "string" ? axis : axis.name);
  const parts = bucket.parts.map((part, place) => `${inChinese("axes", names[place] || "")} ${part}`.trim());
  return h("div", { class: "split" }, bucketPicker(b), h("section", {},
    h("h2", {}, id(bucket)),
    h("p", { class: "lead" }, h("bdi", {}, parts.join(" · ")), ` · ${number(bucket.rows)} ${text("humans")} (${percent(bucket.rows / Math.max(1, total))})`,
      bucket.backed_off ? h("span", { class: "back" }, ` · ${number(bucket.backed_off)} ${text("backing")}`) : null),
    h("div", { class: "controls" }, choice("order", "order", orders),
      buckets.length > 1 ? h("button", { class: "swap", onclick: () => go({ view: "compare" }) }, text("compare")) : null),
    legend(["bars", "median", "solid", "wide", "range", "typical"]),
    rows.length ? null : h("p", { class: "none" }, text("noHumans")),
    groups.filter(([, members]) => members.length).map(([group, members]) => [
      group ? h("h3", {}, group) : null,
      h("div", { class: "strips" }, members.map(stripRow))])));
}

function stripRow({ feature, cell, typical }) {
  const drawn = strip(cell);
  if (typical && buckets.length > 1) {
    drawn.append(h("i", { class: "typical", style: { left: `${inside(position(feature.axis, typical.median)) * 100}%`, top: `${30 / 36 * 100}%` } }));
  }
  return h("div", { class: "strip" },
    h("button", { class: "name", title: `${feature.name}: ${definitionOf(feature)}`, onclick: () => go({ view: "feature", feature: feature.name }) },
      code(feature), shortName(feature) ? h("span", { class: "soft" }, ` ${shortName(feature)}`) : null),
    h("div", {}, drawn, ticks(feature, narrow.matches ? 4 : 5)),
    h("div", { class: "value" }, h("b", {}, say(feature, cell.q50)), h("br"),
      few(cell) ? h("span", { class: "back small" }, text("few")) : h("span", { class: "soft small" }, `${say(feature, cell.q10)}–${say(feature, cell.q90)}`)));
}

function compareView({ b, o }) {
  if (buckets.length < 2) return h("p", { class: "none" }, text("onlyOne"));
  const orders = ["byDifference", "byGroup", "byName"];
  const order = chosen("order", orders);
  const pairs = features.map((feature, f) => [feature, cellOf(f, b), cellOf(f, o)]).filter(([, one, two]) => one && two)
    .map(([feature, one, two]) => ({ feature, one, two, gap: gap(one, two) }));
  if (order === "byDifference") pairs.sort((one, two) => two.gap - one.gap);
  if (order === "byName") pairs.sort((one, two) => one.feature.name < two.feature.name ? -1 : 1);
  const select = (key, value) => h("select", { "data-key": key, "aria-label": text("id"), onchange: (event) => go({ [key]: event.target.value }) },
    buckets.map((bucket, place) => h("option", { value: bucket.bucket, selected: place === value }, bucket.bucket)));
  return [
    h("div", { class: "controls" },
      h("label", {}, h("span", { class: "legend" }, h("i", { class: "bar" })), select("bucket", b)),
      h("button", { class: "swap", onclick: () => go({ bucket: buckets[o].bucket, other: buckets[b].bucket }) }, `⇄ ${text("swap")}`),
      h("label", {}, h("span", { class: "legend" }, h("i", { class: "b" })), select("other", o)),
      choice("order", "order", orders)),
    h("p", { class: "soft small" }, text("compareNote")),
    h("div", { class: "cards" }, pairs.map(({ feature, one, two, gap: difference }) => h("article", { class: "card" },
      h("div", { class: "head" },
        h("button", { title: `${feature.name}: ${definitionOf(feature)}`, onclick: () => go({ view: "feature", feature: feature.name }) },
          code(feature), shortName(feature) ? h("span", { class: "soft small" }, ` ${shortName(feature)}`) : null),
        h("span", { class: "soft small number", title: text("difference") }, difference.toFixed(2))),
      overlay(one, two), ticks(feature, 6),
      h("div", { class: "foot" }, h("span", {}, `${text("median")} `, h("b", {}, say(feature, one.q50)), " · ", h("b", {}, say(feature, two.q50))),
        few(one) || few(two) ? h("span", { class: "back" }, text("few")) : null)))),
    pairs.length ? null : h("p", { class: "none" }, text("noHumans")),
  ];
}

// --- What is under the pointer.

function tipFor(target, x) {
  const f = Number(target.dataset.f), feature = features[f], { axis } = feature;
  const cells = [target.dataset.b, target.dataset.o].filter((place) => place !== undefined).map((place) => cellOf(f, Number(place)));
  const rows = cells.flatMap((cell) => {
    const entry = (key, value) => [h("dt", {}, text(key) || key), h("dd", {}, value)];
    return [
      h("strong", {}, id(buckets[cell.b])),
      h("dl", {}, entry("count", number(cell.count) + (few(cell) ? ` (${text("few")})` : "")),
        entry("median", say(feature, cell.q50)), entry("q25–q75", `${say(feature, cell.q25)}–${say(feature, cell.q75)}`),
        entry("q10–q90", `${say(feature, cell.q10)}–${say(feature, cell.q90)}`), entry("mean", say(feature, cell.mean)), entry("std", say(feature, cell.std)),
        entry("min", say(feature, cell.min)), entry("max", say(feature, cell.max)),
        cell.beyond > 0.0005 ? entry("beyond", percent(cell.beyond)) : [],
        x === null ? [] : entry(barName(feature, axis, x), percent(cell.shares[barAt(axis, x)]))),
    ];
  });
  return [h("strong", {}, `${feature.name}${shortName(feature) ? ` ${shortName(feature)}` : ""} (${unitOf(feature)})`), ...rows];
}

/** What values the bar at a place between 0 and 1 stands for. */
function barName(feature, axis, x) {
  const bar = barAt(axis, x);
  let [low, high] = edgesOf(axis).slice(bar, bar + 2).map((edge) => backward(axis, axis.low + edge * (axis.high - axis.low)));
  if (axis.whole) {
    low = Math.round(low + 0.5);
    high = Math.round(high - 0.5);
    if (low === high) return say(feature, low);
  }
  return `${say(feature, low)}–${say(feature, high)}`;
}

function showTip(event) {
  const target = event.target.closest?.(".plot");
  tip.hidden = !target;
  if (!target) return;
  const box = target.getBoundingClientRect();
  tip.replaceChildren(...tipFor(target, inside((event.clientX - box.left) / box.width)));
  tip.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = tip;
  tip.style.left = `${Math.max(8, Math.min(event.clientX + 16, innerWidth - width - 12))}px`;
  tip.style.top = `${event.clientY + 18 + height < innerHeight ? event.clientY + 18 : Math.max(8, event.clientY - height - 14)}px`;
}

/** The same for what has the keyboard's focus. */
function showTipOfFocus(event) {
  const near = event.target.matches?.(":focus-visible") && event.target.closest(".card, .strip, tbody tr")?.querySelector(".plot");
  if (!near) return;
  tip.replaceChildren(...tipFor(near, null));
  tip.hidden = false;
  const box = near.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 12))}px`;
  tip.style.top = `${box.bottom + 24 + tip.offsetHeight < innerHeight ? box.bottom + 24 : Math.max(8, box.top - tip.offsetHeight - 8)}px`;
}

document.addEventListener("focusin", showTipOfFocus);
document.addEventListener("pointermove", showTip);
document.addEventListener("pointerdown", showTip);
document.addEventListener("scroll", () => { tip.hidden = true; }, true);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") tip.hidden = true;
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const view = VIEWS[Number(event.key) - 1];
  if (view) go({ view });
  if (event.key === "/") {
    event.preventDefault();
    const details = page.querySelector(".picker");
    if (details) details.open = true;
    page.querySelector("input[type=search]")?.focus();
  }
});

// --- Drawing the page anew, in the place it was.

const VIEW = { buckets: bucketsView, feature: featureView, bucket: bucketView, compare: compareView };
let drawn = "";

function focusPath() {
  const element = document.activeElement;
  if (!element || !page.contains(element)) return null;
  if (element.id) return () => document.getElementById(element.id);
  if (element.dataset.key) return () => page.querySelector(`select[data-key="${element.dataset.key}"]`);
  if (element.dataset.sort) return () => page.querySelector(`button[data-sort="${element.dataset.sort}"]`);
  return element.closest(".choices") ? () => page.querySelector(".choices [aria-current=true]") : null;
}

function draw() {
  const places = readState();
  const root = document.documentElement, focus = focusPath(), top = scrollY;
  root.lang = state.lang === "zh" ? "zh-CN" : "en";
  root.dataset.theme = state.theme;
  tip.hidden = true;
  const foot = h("footer", {}, [text("footArea"), text("footBack")(about.min_count), text("footKeys")].map((line) => h("p", {}, line)));
  const content = features.length && buckets.length ? VIEW[state.view](places) : h("p", { class: "none" }, text("none"));
  const list = page.querySelector(".choices");
  const scrolled = list ? list.scrollTop : null;
  page.replaceChildren(...heading(), h("main", { role: "tabpanel", "aria-labelledby": `tab-${state.view}` }, content), foot);
  const now = page.querySelector(".choices");
  if (now && scrolled !== null && drawn === state.view) now.scrollTop = scrolled;
  else if (now) {
    const current = now.querySelector("[aria-current=true]");
    if (current) now.scrollTop = current.offsetTop - now.offsetTop - now.clientHeight / 3;
  }
  scrollTo(0, drawn === state.view ? top : Math.min(top, page.querySelector("nav").offsetTop));
  drawn = state.view;
  focus?.()?.focus({ preventScroll: true });
}

readState();
document.documentElement.dataset.theme = state.theme;
addEventListener("hashchange", draw);
narrow.addEventListener("change", draw);
const problem = (key) => page.replaceChildren(h("p", { class: "problem", role: "alert" }, text(key)));
if (typeof DecompressionStream === "undefined") problem("old");
else inflate(document.getElementById("numbers").textContent).then(unpack).then(draw, () => problem("broken"));
})();
