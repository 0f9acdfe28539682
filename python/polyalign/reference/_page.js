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
    footKeys: (views) => `Keys: / finds, ↑ ↓ move in lists, 1–${views} change the view.`,
    sidesLead: (one, two) => `Where ${one} and ${two} differ: the distribution of each feature on either side, bucket by bucket, the largest difference first.`,
    shared: "buckets in common", noneShared: "The two have no bucket in common.", onlyIn: (name) => `only in ${name}`, topDifferences: "features that differ most",
    sideRows: (name) => `rows of ${name}`, onlyValues: (name) => `Only ${name} has values of`, averageDifference: "mean W1/σ",
    sidesNote: (one, least) => `W1/σ: how far a value moves on average from one side to the other, in standard deviations of ${one} (no less than the feature's own step). ` +
      `Features with fewer than ${least} values on either side come last and are left out of the mean.`,
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
    footKeys: (views) => `快捷键：/ 查找，↑ ↓ 在列表中移动，1–${views} 切换视图。`,
    sidesLead: (one, two) => `${one} 与 ${two} 的差异所在：逐桶呈现两边各项特征的分布，差异最大的在前。`,
    shared: "个共有的桶", noneShared: "两者没有共有的桶。", onlyIn: (name) => `仅 ${name} 有`, topDifferences: "差异最大的特征",
    sideRows: (name) => `${name} 的条数`, onlyValues: (name) => `仅 ${name} 有取值的特征`, averageDifference: "平均 W1/σ",
    sidesNote: (one, least) => `W1/σ：取值从一边到另一边平均移动多远，以 ${one} 的标准差计（不小于该特征的步长）。任一边取值少于 ${least} 个的特征排在最后，不计入平均。`,
    old: "本页需要 2023 年以后的浏览器。", broken: "本页的数据已损坏。",
  },
};

const about = JSON.parse(document.getElementById("about").textContent);
const page = document.getElementById("page"), tip = document.getElementById("tip");
// `sides`: the names, the rows and the own buckets of two references that are compared, else nothing.
const { features, buckets, sides } = about;
/** The buckets to choose from. Of two references, those of the first that both have; those of the second follow them. */
const listed = sides ? buckets.slice(0, buckets.length / 2) : buckets;
const VIEWS = sides ? ["compare", "buckets", "feature"] : ["buckets", "feature", "bucket", "compare"];
const total = buckets.reduce((sum, bucket) => sum + bucket.rows, 0);
const narrow = matchMedia("(max-width: 800px)");

<!--parts-->
// --- Words.

const text = (key) => TEXTS[state.lang][key];
const inChinese = (kind, name) => (state.lang === "zh" && about.zh[kind][name]) || name;
const shortName = (feature) => state.lang === "zh" ? about.zh.features[feature.name] : undefined;
const number = (count) => tally.format(count);
const definitionOf = (feature) => (state.lang === "zh" && about.zh.definitions[feature.name]) || feature.definition;
const unitOf = (feature) => inChinese("units", feature.unit);

// --- State, kept in the address so that a view can be linked to.

const USUAL = { view: VIEWS[0], feature: null, bucket: null, other: null, lang: null, theme: null, order: "", sort: "", height: "own", find: "" };
const state = { ...USUAL };

function readState() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const key of Object.keys(state)) if (given.has(key)) state[key] = given.get(key);
  if (!VIEWS.includes(state.view)) [state.view] = VIEWS;
  if (!(state.lang in TEXTS)) state.lang = (navigator.language || "").startsWith("zh") ? "zh" : "en";
  if (!["light", "dark"].includes(state.theme)) state.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const usual = ["word_count", "char_count"].find((name) => features.some((feature) => feature.name === name));
  const f = Math.max(0, features.findIndex((feature) => feature.name === (state.feature ?? usual)));
  const placeOf = (name, usually) => listed.some((bucket) => bucket.bucket === name) ? listed.findIndex((bucket) => bucket.bucket === name) : usually;
  const b = placeOf(state.bucket, largest[0]);
  return { f, b, o: sides ? b + listed.length : placeOf(state.other, largest.find((place) => place !== b) ?? b) };
}

/** The rows of a bucket; of two references, of the side that has fewer, which a comparison is as good as. */
const rowsOf = (b) => sides ? Math.min(buckets[b].rows, buckets[b + listed.length].rows) : buckets[b].rows;
const byRows = (one, two) => rowsOf(two) - rowsOf(one) || one - two;
const largest = [...listed.keys()].sort(byRows);

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

function describe(cell) {
  const feature = features[cell.f];
  return `${feature.name}, ${sideOf(cell.b)}${buckets[cell.b].bucket}: ${text("median")} ${say(feature, cell.q50)}, ` +
    `q10–q90 ${say(feature, cell.q10)}–${say(feature, cell.q90)}, ${text("count")} ${number(cell.count)}`;
}

/** The name of the reference that a bucket is of, where two are compared. */
const sideOf = (b) => sides ? `${sides.names[b < listed.length ? 0 : 1]} ` : "";
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

/** A feature in two buckets, or null if there are no values in one. The difference is W1/σ between two references. */
function pairOf(f, b, o) {
  const one = cellOf(f, b), two = cellOf(f, o);
  if (!one || !two) return null;
  return { f, one, two, few: few(one) || few(two), difference: sides ? differences[f * listed.length + b] : gap(one, two) };
}
const byDifference = (one, two) => one.few - two.few || two.difference - one.difference;

// --- The parts of the page.

function heading() {
  const { schema } = about;
  const edges = Array.isArray(schema.length_edges) ? schema.length_edges.join(", ")
    : schema.length_edges && typeof schema.length_edges === "object"
      ? Object.entries(schema.length_edges).map(([language, ends]) => `${language}: ${[].concat(ends).join(", ")}`).join("; ")
      : schema.length_edges;
  const counted = !sides ? [[number(total), "humans"], [number(buckets.length), "many"]] : [
    ...sides.names.map((name, side) => [number(sides.rows[side]), text("sideRows")(name)]), [number(listed.length), "shared"],
    ...sides.names.map((name, side) => [sides.only[side].length && number(sides.only[side].length), text("onlyIn")(name)]).filter(([many]) => many),
  ];
  const facts = [
    ...counted, [number(features.length), "features"],
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
    h("p", { class: "lead" }, sides ? text("sidesLead")(...sides.names) : text("lead")),
    h("dl", { class: "facts" }, facts.map(([value, key]) => h("div", {}, h("dt", {}, text(key) || key), h("dd", {}, String(value))))),
    h("nav", { role: "tablist", onkeydown: moveTab }, VIEWS.map((view) => h("button", {
      role: "tab", id: `tab-${view}`, "aria-selected": String(state.view === view), tabindex: state.view === view ? 0 : -1, onclick: () => go({ view }),
    }, text(sides && view === "compare" ? "bucket" : view)))),
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

/**
 * A table of buckets with a box to search them. Columns are [name, class, order or null, heading, what a cell holds of a row];
 * the rows, each with its bucket, come as given until a heading is pressed.
 */
function bucketTable(rows, columns, ...controls) {
  const [key, down] = state.sort.split("-");
  const order = columns.find(([name]) => name === key)?.[2];
  if (order) rows.sort((one, two) => (down ? -1 : 1) * order(one, two) || one.b - two.b);
  const body = h("tbody");
  const show = () => {
    const found = rows.filter(({ bucket }) => matches(state.find, bucket.bucket));
    body.replaceChildren(...found.map((row) => h("tr", {}, columns.map(([, kind, , , content]) => h("td", { class: kind }, content(row))))));
    if (!found.length) body.append(h("tr", {}, h("td", { colspan: columns.length, class: "none" }, text("none"))));
  };
  show();
  const head = columns.map(([name, kind, compare, label]) => {
    const sorted = compare && name === key;
    const mark = sorted ? (down ? " ▾" : " ▴") : "";
    return h("th", { class: kind.replace(/bucket|number/, ""), scope: "col", title: name === "backs" ? text("backsTitle") : undefined,
      "aria-sort": sorted ? (down ? "descending" : "ascending") : undefined },
    compare ? h("button", { "data-sort": name, onclick: () => go({ sort: sorted && !down ? `${name}-down` : name }) }, label, mark) : label);
  });
  return [
    h("div", { class: "controls" }, bucketSearch(show), controls),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head)), body)),
  ];
}

const bucketLink = (b, view) => h("button", { title: buckets[b].bucket, onclick: () => go({ view, bucket: buckets[b].bucket }) }, id(buckets[b]));

function bucketsView({ f }) {
  const feature = features[f];
  const axisNames = buckets.every((bucket) => bucket.parts.length === about.schema.axes.length) && about.schema.axes.length > 1
    ? about.schema.axes.map((axis) => typeof axis === "string" ? axis : axis.name) : [];
  const rows = largest.map((b) => ({ bucket: buckets[b], b, cell: cellOf(f, b) }));
  const median = (row) => row.cell ? row.cell.q50 : -Infinity;
  const most = Math.max(1, ...buckets.map((bucket) => bucket.rows));
  const byPart = (place) => (one, two) => one.bucket.parts[place] < two.bucket.parts[place] ? -1 : one.bucket.parts[place] > two.bucket.parts[place] ? 1 : 0;
  const [controls, scroll] = bucketTable(rows, [
    ["id", "bucket", (one, two) => one.b - two.b, text("id"), ({ b }) => bucketLink(b, "bucket")],
    ...axisNames.map((axis, place) => [`axis${place}`, "wide", byPart(place), inChinese("axes", axis), ({ bucket }) => h("bdi", {}, bucket.parts[place])]),
    ["rows", "end number", (one, two) => two.bucket.rows - one.bucket.rows, text("rows"), ({ bucket }) => number(bucket.rows)],
    ["share", "wide", null, text("share"), ({ bucket }) => h("span", { class: "share number" },
      h("span", {}, h("i", { style: { width: `${bucket.rows / most * 100}%` } })), h("span", {}, percent(bucket.rows / Math.max(1, total))))],
    ["plot", "plotted", null, ticks(feature), ({ cell }) => cell && strip(cell)],
    ["median", "end number", (one, two) => median(one) - median(two), text("median"), ({ cell }) => cell ? say(feature, cell.q50) : "–"],
    ["spread", "end number wide", null, text("spread"), ({ cell }) => cell ? `${say(feature, cell.q10)}–${say(feature, cell.q90)}` : "–"],
    ["backs", "end number", (one, two) => two.bucket.backed_off - one.bucket.backed_off, text("backs"),
      ({ bucket }) => bucket.backed_off ? h("span", { class: "back" }, number(bucket.backed_off)) : "0"],
  ], h("label", {}, text("histogram"), h("select", { id: "histogram", onchange: (event) => go({ feature: event.target.value }) }, featureOptions(f))));
  return [controls, h("p", { class: "soft small" }, featureLine(feature)), legend(["bars", "median", "solid", "wide", "range"]), scroll];
}

/** How far a bucket's two sides are apart: on average over the features with enough values, and where most. */
function summaryOf(b) {
  const places = features.map((_, f) => f);
  const enough = (f, side) => counts[f * buckets.length + side] >= Math.max(1, about.min_count);
  const of = (f) => differences[f * listed.length + b];
  const compared = places.filter((f) => enough(f, b) && enough(f, b + listed.length)).sort((one, two) => of(two) - of(one) || one - two);
  const sum = compared.reduce((all, f) => all + of(f), 0);
  return { bucket: buckets[b], b, mean: compared.length ? sum / compared.length : null, most: compared.slice(0, 3).map((f) => [features[f], of(f)]) };
}
const summaries = () => summaries.known ||= listed.map((_, b) => summaryOf(b));

/** All buckets that two references have, and those that only one has. */
function differencesView() {
  const mean = (row) => row.mean ?? -1;
  const rows = [...summaries()].sort((one, two) => mean(two) - mean(one) || byRows(one.b, two.b));
  const named = ([feature, difference]) => h("div", {},
    h("button", { title: definitionOf(feature), onclick: () => go({ view: "feature", feature: feature.name }) }, code(feature), shortName(feature) && ` ${shortName(feature)}`),
    h("span", { class: "soft number" }, ` ${difference.toFixed(2)}`));
  const side = (key, at) => [key, "end number wide", (one, two) => buckets[at(two.b)].rows - buckets[at(one.b)].rows,
    text("sideRows")(sides.names[key === "rows" ? 0 : 1]), ({ b }) => number(buckets[at(b)].rows)];
  return [
    listed.length ? bucketTable(rows, [
      ["id", "bucket", (one, two) => one.b - two.b, text("id"), ({ b }) => bucketLink(b, "compare")],
      side("rows", (b) => b), side("others", (b) => b + listed.length),
      ["mean", "end number", (one, two) => mean(two) - mean(one), text("averageDifference"), (row) => row.mean === null ? "–" : row.mean.toFixed(2)],
      ["most", "most", null, text("topDifferences"), ({ most }) => most.length ? most.map(named) : h("span", { class: "back" }, text("few"))],
    ]) : h("p", { class: "none" }, text("noneShared")),
    sidesNote(),
    sides.only.map((own, at) => own.length ? [
      h("h3", {}, `${number(own.length)} ${text("many")} ${text("onlyIn")(sides.names[at])}`),
      h("p", { class: "only" }, own.map(({ bucket, rows: many }) => h("span", {}, id({ bucket }), h("span", { class: "soft number" }, ` ${number(many)}`)))),
    ] : null),
  ];
}

const sidesNote = () => h("p", { class: "soft small" }, text("sidesNote")(sides.names[0], about.min_count));
/** Which colour stands for which reference, with the rows of a bucket. */
const sidesLegend = (b) => h("div", { class: "legend" }, sides.names.map((name, side) => h("span", {},
  h("i", { class: side ? "b" : "bar" }), h("bdi", {}, name), b === undefined ? null : h("span", { class: "number" }, number(buckets[b + side * listed.length].rows)))));

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
  if (sides) return featureFrame(f, ["byDifference", "byRows", "byId"], [sidesLegend(), sidesNote()], pairCards(f));
  const orders = ["byRows", "byId", "byMedian"];
  const cells = buckets.map((_, b) => cellOf(f, b)).filter(Boolean);
  const order = chosen("order", orders);
  if (order === "byRows") cells.sort((one, two) => byRows(one.b, two.b));
  if (order === "byMedian") cells.sort((one, two) => one.q50 - two.q50 || one.mean - two.mean || one.b - two.b);
  const cards = (find) => {
    const found = cells.filter((cell) => find(cell.b));
    const enough = found.filter((cell) => !few(cell));
    const top = state.height === "common" ? Math.max(...(enough.length ? enough : found).map((cell) => cell.tallest)) : 0;
    return found.map((cell) => h("article", { class: "card" },
      h("div", { class: "head" }, bucketLink(cell.b, "bucket"), h("span", { class: "soft small number" }, number(cell.count))),
      histogram(cell, top), ticks(feature),
      h("div", { class: "foot" },
        h("span", {}, `${text("median")} `, h("b", {}, say(feature, cell.q50))),
        few(cell) ? h("span", { class: "back" }, text("few")) : h("span", {}, `q10–q90 ${say(feature, cell.q10)}–${say(feature, cell.q90)}`))));
  };
  return featureFrame(f, orders, legend(["bars", "box", "band", "median"]), cards, choice("height", "height", ["own", "common"]));
}

/** A feature in many buckets: `cards` makes those that are found. */
function featureFrame(f, orders, key, cards, ...controls) {
  const feature = features[f], grid = h("div", { class: "cards" });
  const show = () => {
    const found = cards((b) => matches(state.find, buckets[b].bucket));
    grid.replaceChildren(...found);
    if (!found.length) grid.append(h("p", { class: "none" }, text(state.find ? "none" : "noHumans")));
  };
  show();
  return h("div", { class: "split" }, featurePicker(f), h("section", {},
    h("h2", {}, code(feature), shortName(feature) && ` ${shortName(feature)}`),
    h("p", { class: "lead" }, featureLine(feature)),
    h("div", { class: "controls" }, bucketSearch(show), choice("order", "order", orders), controls),
    key, grid));
}

/** A feature in the buckets that two references have. */
function pairCards(f) {
  const pairs = listed.map((_, b) => pairOf(f, b, b + listed.length)).filter(Boolean);
  const order = chosen("order", ["byDifference", "byRows", "byId"]);
  if (order === "byDifference") pairs.sort(byDifference);
  if (order === "byRows") pairs.sort((one, two) => byRows(one.one.b, two.one.b));
  return (find) => pairs.filter((pair) => find(pair.one.b)).map((pair) => pairCard(pair, bucketLink(pair.one.b, "compare")));
}

/** A feature in two buckets, one over the other. */
function pairCard({ f, one, two, difference, few: rare }, name) {
  const feature = features[f];
  return h("article", { class: "card" },
    h("div", { class: "head" }, name, h("span", { class: "soft small number", title: text("difference") }, `${sides ? "W1/σ " : ""}${difference.toFixed(2)}`)),
    overlay(one, two), ticks(feature),
    h("div", { class: "foot" }, h("span", {}, `${text("median")} `, h("b", {}, say(feature, one.q50)), " · ", h("b", {}, say(feature, two.q50))),
      rare ? h("span", { class: "back" }, text("few")) : null));
}

/** The median of the medians of all buckets with enough humans, and the usual width of their middle half. */
function typicalOf(f) {
  return (typicalOf.known ||= features.map((_, at) => findTypical(at)))[f];
}
function findTypical(f) {
  const first = f * buckets.length, cells = features.length * buckets.length;
  const of = (name, place) => statistics[STATISTICS.indexOf(name) * cells + first + place];
  const enough = buckets.map((_, place) => place).filter((place) => counts[first + place] >= Math.max(1, about.min_count));
  if (!enough.length) return null;
  const middle = (values) => values.sort((one, two) => one - two)[values.length >> 1];
  return { median: middle(enough.map((place) => of("q50", place))), width: middle(enough.map((place) => of("q75", place) - of("q25", place))) };
}

function bucketPicker(b) {
  const hint = (place) => !sides ? number(buckets[place].rows) : summaries()[place].mean?.toFixed(2) ?? "–";
  return picker(h("bdi", {}, buckets[b].bucket), text("findBucket"), [[sides ? text("averageDifference") : "", listed.map((bucket, place) => [
    id(bucket), hint(place), bucket.bucket, place === b, () => go({ bucket: bucket.bucket })])]]);
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
    h("div", {}, drawn, ticks(feature)),
    h("div", { class: "value" }, h("b", {}, say(feature, cell.q50)), h("br"),
      few(cell) ? h("span", { class: "back small" }, text("few")) : h("span", { class: "soft small" }, `${say(feature, cell.q10)}–${say(feature, cell.q90)}`)));
}

function compareView({ b, o }) {
  if (buckets.length < 2) return h("p", { class: "none" }, text("onlyOne"));
  const orders = ["byDifference", "byGroup", "byName"];
  const order = chosen("order", orders);
  const pairs = features.map((_, f) => pairOf(f, b, o)).filter(Boolean);
  if (order === "byDifference") pairs.sort(byDifference);
  if (order === "byName") pairs.sort((one, two) => features[one.f].name < features[two.f].name ? -1 : 1);
  const linkOf = (feature) => h("button", { title: `${feature.name}: ${definitionOf(feature)}`, onclick: () => go({ view: "feature", feature: feature.name }) },
    code(feature), shortName(feature) ? h("span", { class: "soft small" }, ` ${shortName(feature)}`) : null);
  const cards = [
    h("div", { class: "cards" }, pairs.map((pair) => pairCard(pair, linkOf(features[pair.f])))),
    pairs.length ? null : h("p", { class: "none" }, text("noHumans")),
  ];
  if (sides) return sidesOfBucket(b, choice("order", "order", orders), cards);
  const select = (key, value) => h("select", { "data-key": key, "aria-label": text("id"), onchange: (event) => go({ [key]: event.target.value }) },
    buckets.map((bucket, place) => h("option", { value: bucket.bucket, selected: place === value }, bucket.bucket)));
  return [
    h("div", { class: "controls" },
      h("label", {}, h("span", { class: "legend" }, h("i", { class: "bar" })), select("bucket", b)),
      h("button", { class: "swap", onclick: () => go({ bucket: buckets[o].bucket, other: buckets[b].bucket }) }, `⇄ ${text("swap")}`),
      h("label", {}, h("span", { class: "legend" }, h("i", { class: "b" })), select("other", o)),
      choice("order", "order", orders)),
    h("p", { class: "soft small" }, text("compareNote")), cards,
  ];
}

/** A bucket of two references: which features only one has values of is said, too. */
function sidesOfBucket(b, controls, cards) {
  const own = [0, 1].map((side) => features.filter((_, f) => {
    const [mine, other] = [side, 1 - side].map((at) => counts[f * buckets.length + b + at * listed.length]);
    return mine && !other;
  }));
  const { mean } = summaries()[b];
  return h("div", { class: "split" }, bucketPicker(b), h("section", {},
    h("h2", {}, id(buckets[b])),
    mean === null ? null : h("p", { class: "lead" }, `${text("averageDifference")} ${mean.toFixed(2)}`),
    h("div", { class: "controls" }, sidesLegend(b), controls), sidesNote(), cards,
    own.map((members, side) => members.length ? [h("h3", {}, text("onlyValues")(sides.names[side])),
      h("p", { class: "only" }, members.map((feature) => h("span", {}, code(feature), shortName(feature) && ` ${shortName(feature)}`)))] : null)));
}

// --- What is under the pointer.

function tipFor(target, x) {
  const f = Number(target.dataset.f), feature = features[f], { axis } = feature;
  const cells = [target.dataset.b, target.dataset.o].filter((place) => place !== undefined).map((place) => cellOf(f, Number(place)));
  const rows = cells.flatMap((cell) => {
    const entry = (key, value) => [h("dt", {}, text(key) || key), h("dd", {}, value)];
    return [
      h("strong", {}, sideOf(cell.b), id(buckets[cell.b])),
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
  placeTip(event.clientX + 16, event.clientY + 18, event.clientY - 14);
}

/** The same for what has the keyboard's focus. */
function showTipOfFocus(event) {
  const near = event.target.matches?.(":focus-visible") && event.target.closest(".card, .strip, tbody tr")?.querySelector(".plot");
  if (!near) return;
  tip.replaceChildren(...tipFor(near, null));
  tip.hidden = false;
  const box = near.getBoundingClientRect();
  placeTip(box.left, box.bottom + 24, box.top - 8);
}

document.addEventListener("focusin", showTipOfFocus);
// --- Drawing the page anew, in the place it was.

const VIEW = { buckets: sides ? differencesView : bucketsView, feature: featureView, bucket: bucketView, compare: compareView };
let drawn = "";

function draw() {
  const places = readState();
  const root = document.documentElement, focus = focusPath(), top = scrollY;
  root.lang = state.lang === "zh" ? "zh-CN" : "en";
  root.dataset.theme = state.theme;
  tip.hidden = true;
  observer.disconnect();
  const foot = h("footer", {}, [text("footArea"), text("footBack")(about.min_count), text("footKeys")(VIEWS.length)].map((line) => h("p", {}, line)));
  const content = features.length && buckets.length ? VIEW[state.view](places)
    : sides ? differencesView() : h("p", { class: "none" }, text("none"));
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
const problem = (key) => page.replaceChildren(h("p", { class: "problem", role: "alert" }, text(key)));
if (typeof DecompressionStream === "undefined") problem("old");
else inflate(document.getElementById("numbers").textContent).then(unpack).then(draw, () => problem("broken"));
})();
