// Hands the conversations that the filters choose to the charts, and their results to the tables.
"use strict";
(async () => {
  const DAY = 86400000;
  const element = (id) => document.getElementById(id);
  const drawings = JSON.parse(element("drawings").textContent);
  const packed = Uint8Array.from(atob(element("facts").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const facts = JSON.parse(await new Response(stream).text());

  const coded = Object.keys(facts.texts);
  const rows = facts.conversations.day.map((_, n) => {
    const row = {};
    for (const [name, values] of Object.entries(facts.conversations)) row[name] = values[n];
    for (const name of coded) {
      const texts = facts.texts[name];
      if (name === "tags") row.tags = row.tags.map((code) => texts[code]);
      else row[name] = row[name] === null ? null : texts[row[name]];
    }
    row.day *= DAY;
    row.tagged = row.tags.length > 0;
    row.sla = [row.sla_first, row.sla_next, row.sla_last].some((r) => r && r !== "not measured");
    return row;
  });
  const spells = facts.spells.opened.map((opened, n) => ({
    row: rows[facts.spells.conversation[n]],
    opened: opened * DAY,
    closed: facts.spells.closed[n] === null ? null : facts.spells.closed[n] * DAY,
  }));

  // --- filters
  const filters = ["project", "department", "channel", "agent"];
  for (const name of filters) {
    const choice = element(name);
    choice.add(new Option("All", ""));
    for (const text of facts.texts[name]) if (text !== "") choice.add(new Option(text, text));
  }
  element("project").parentElement.hidden = facts.texts.project.length < 2;
  for (const name of ["since", "until"]) {
    for (const side of ["min", "max", "value"]) {
      const day = { min: facts.since, max: facts.until, value: facts[name] }[side];
      if (day) element(name).setAttribute(side, day);
    }
  }
  // A link to the page may carry a choice: report.html#department=Billing&since=2026-01-01
  for (const [name, value] of new URLSearchParams(location.hash.slice(1)))
    if ([...filters, "since", "until"].includes(name)) element(name).value = value;
  const days = (id, otherwise) => {
    const time = Date.parse(element(id).value + "T00:00:00Z");
    return Number.isNaN(time) ? otherwise : time;
  };

  // --- how values are written
  const number = new Intl.NumberFormat("en");
  const plain = (value, digits) => number.format(Number(value.toFixed(digits)));
  const written = {
    text: (value) => value,
    number: (value) => number.format(value),
    share: (value) => plain(value * 100, 1) + " %",
    day: (value) => new Date(value).toISOString().slice(0, 10),
    seconds: (value) =>
      value < 60 ? plain(value, 1) + " s"
        : value < 3600 ? plain(value / 60, 1) + " min"
        : value < 172800 ? plain(value / 3600, 1) + " h"
        : plain(value / 86400, 1) + " d",
  };
  const shown = (value, how) =>
    value === null || value === undefined || Number.isNaN(value) ? "–" : written[how](value);

  const node = (name, text, kind) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const kind = (how) => (how === "text" || how === "day" ? "" : "number");

  // --- charts
  const ink = { labelColor: "currentColor", titleColor: "currentColor" };
  const config = {
    background: "transparent",
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: { ...ink, domainColor: "currentColor", tickColor: "currentColor",
      gridColor: "currentColor", gridOpacity: 0.15, domainOpacity: 0.4, labelLimit: 140 },
    legend: ink,
  };
  const resultOf = (spec) => {
    for (const mark of spec.marks) {
      const found = mark.from && (mark.from.data || (mark.from.facet && mark.from.facet.data));
      if (found) return found;
      if (mark.marks) return resultOf(mark);
    }
    return null;
  };
  const charts = drawings.map((drawing) => {
    const figure = node("figure");
    figure.id = drawing.key;
    const place = node("div", undefined, "drawing");
    place.setAttribute("role", "img");
    const about = node("p");
    const table = node("table");
    if (drawing.title) {
      const details = node("details");
      const scroll = node("div", undefined, "table");
      scroll.tabIndex = 0;
      scroll.append(table);
      details.append(node("summary", "Table"), scroll);
      figure.append(node("h2", drawing.title), about, place, details);
      element("charts").append(figure);
    }
    return { ...drawing, figure, place, lead: about, table };
  });
  // The first drawing brings its data along, since an empty chart has no scales to draw.
  const show = async (chart, data, signals) => {
    const [source] = Object.keys(data);
    if (!chart.view) {
      const params = chart.spec.params.map((param) =>
        param.name in signals ? { ...param, value: signals[param.name] } : param);
      const { view, vgSpec } = await vegaEmbed(chart.place, { ...chart.spec, params, datasets: data },
        { actions: false, renderer: "svg", config, logLevel: 1 });
      Object.assign(chart, { view, result: resultOf(vgSpec) });
    } else {
      for (const [name, value] of Object.entries(signals)) chart.view.signal(name, value);
      await chart.view.data(source, data[source]).resize().runAsync();
    }
    return chart.view.data(chart.result);
  };

  const fill = (chart, found, count) => {
    const said = count ? `${number.format(count)} conversations.` : "No conversation to show.";
    chart.lead.textContent = `${chart.about} ${said}`;
    chart.place.setAttribute("aria-label", `${chart.title}. ${chart.lead.textContent}`);
    chart.figure.classList.toggle("empty", !count);
    const head = node("tr");
    for (const [, title, how] of chart.columns) head.append(node("th", title, kind(how)));
    const body = found.map((row) => {
      const line = node("tr");
      for (const [name, , how] of chart.columns) line.append(node("td", shown(row[name], how), kind(how)));
      return line;
    });
    const thead = node("thead"), tbody = node("tbody");
    thead.append(head);
    tbody.append(...body);
    chart.table.replaceChildren(thead, tbody);
  };
  const fillFigures = (chart, row) => {
    const note = {
      reply: `${number.format(row.replies || 0)} replies`,
      resolved: `${number.format(row.resolutions || 0)} resolved`,
      contained_share: `${number.format(row.contained || 0)} of ${number.format(row.bots || 0)} with a bot`,
      satisfied: row.ratings
        ? `± ${plain(row.margin * 100, 1)} points, ${number.format(row.ratings)} ratings` : "no ratings",
    };
    element("figures").replaceChildren(...chart.columns.map(([name, title, how]) => {
      const tile = node("div");
      tile.id = `figure-${name}`;
      tile.append(node("span", title), node("b", shown(row[name], how)), node("span", note[name] || ""));
      return tile;
    }));
  };
  const sorted = (chart, found) => {
    const [first] = chart.columns[0];
    if (chart.columns.some(([name]) => name === "n") && !["period", "weekday", "wait"].includes(first))
      return [...found].sort((a, b) => b.n - a.n);
    return [...found].sort((a, b) => (a[first] < b[first] ? -1 : a[first] > b[first] ? 1 : 0));
  };

  const draw = async () => {
    const since = days("since", -Infinity), until = days("until", Infinity);
    const wanted = filters.map((name) => [name, element(name).value]).filter(([, text]) => text);
    const chosen = rows.filter((row) =>
      row.day >= since && row.day <= until && wanted.every(([name, text]) => row[name] === text));
    const isChosen = new Set(chosen);
    const open = spells.filter((spell) => isChosen.has(spell.row));
    const first = chosen.reduce((day, row) => Math.min(day, row.day), Infinity);
    const last = Number.isFinite(until) ? until : Date.parse(facts.until);
    const span = (last - first) / DAY;
    const step = span <= 62 ? "day" : span <= 400 ? "week" : "month";
    for (const chart of charts) {
      const counted = chart.counts
        ? chosen.filter((row) => ![null, "", false].includes(row[chart.counts])) : chosen;
      const isBacklog = chart.key === "backlog";
      const data = isBacklog
        ? { spells: open.map(({ opened, closed }) => ({ opened, closed })) }
        : { conversations: chosen };
      const signals = isBacklog ? { step, first_day: first, last_day: last } : { step };
      const found = counted.length ? await show(chart, data, signals) : [];
      if (chart.key === "figures") fillFigures(chart, found[0] || {});
      else fill(chart, sorted(chart, found), counted.length);
    }
    document.body.dataset.drawn = String(Number(document.body.dataset.drawn || 0) + 1);
  };
  const remember = () => {
    const chosen = [...filters, "since", "until"].map((name) => [name, element(name).value]);
    const changed = chosen.filter(([name, value]) => value && value !== element(name).defaultValue);
    history.replaceState(null, "", "#" + new URLSearchParams(changed));
  };
  let running = Promise.resolve();
  const again = () => { remember(); running = running.then(draw); };
  element("filters").addEventListener("change", again);
  element("filters").addEventListener("reset", () => setTimeout(again));
  element("filters").addEventListener("submit", (event) => event.preventDefault());
  again();
})();
