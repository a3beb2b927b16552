"use strict";
const make = (name, about = {}, ...children) => {
  const element = document.createElement(name);
  Object.assign(element, about);
  element.append(...children);
  return element;
};
const drawing = (name, about) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(about)) element.setAttribute(key, value);
  return element;
};

for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = make("button", { type: "button" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[column];
        return cell.dataset.v === undefined ? cell.textContent : cell.dataset.v === "" ? -Infinity : Number(cell.dataset.v);
      };
      const order = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
      const rows = [...table.tBodies[0].rows].sort((a, b) => order(key(a), key(b)) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    });
  });
}
for (const code of document.querySelectorAll("code.copy")) {
  const button = make("button", { type: "button", className: "copier", textContent: "Copy" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Press Ctrl+C";
    }
  });
  code.after(button);
}

const tip = make("div", { className: "tip", hidden: true });
tip.setAttribute("role", "status");
document.body.append(tip);
const say = (x, y, ...content) => {
  tip.replaceChildren(...content);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 10) : y + 18}px`;
};
const hush = () => (tip.hidden = true);
addEventListener("scroll", hush, { passive: true });
const known = (section, row) => document.getElementById(`${section}-${row}`)?.querySelector("img, .note:last-child")?.cloneNode(true);
const inside = (svg, event) => {
  const frame = svg.getBoundingClientRect();
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  return [((event.clientX - frame.x) / frame.width) * width, ((event.clientY - frame.y) / frame.height) * height];
};
const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 3 });

for (const panel of document.querySelectorAll(".panel[data-matrix]")) {
  const svg = panel.querySelector("svg");
  const [left, top, width, height] = panel.dataset.box.split(" ").map(Number);
  const section = panel.closest(".part").id;
  const figure = panel.closest("figure");
  const { names, cells, samples: behind } = JSON.parse(figure.querySelector("[data-matrix]").dataset.matrix);
  if (!names) continue;
  const totals = names.map(() => 0);
  const samples = new Map(cells.map(([i, j, count]) => [`${i},${j}`, (totals[i] += count) && count]));
  const side = width / names.length;
  const cursor = drawing("rect", { width: side, height: height / names.length, class: "cursor", visibility: "hidden" });
  svg.append(cursor);
  svg.setAttribute("tabindex", "0");
  let at = [0, 0];
  const words = () => {
    const count = samples.get(at.join()) || 0;
    const share = totals[at[0]] ? ` (${((100 * count) / totals[at[0]]).toFixed(1)} % of true)` : "";
    return `true ${names[at[0]]}, predicted ${names[at[1]]}: ${count.toLocaleString("en")} sample${count === 1 ? "" : "s"}${share}`;
  };
  const point = (x, y) => {
    cursor.setAttribute("x", left + at[1] * side);
    cursor.setAttribute("y", top + at[0] * side);
    cursor.setAttribute("visibility", "visible");
    say(x, y, words());
  };
  const shown = () => {
    const list = make("ul", { className: "samples" });
    for (const [row, name, loss] of behind?.[at.join()] || []) {
      const picture = known(section, row);
      const about = make("div", {}, make("b", { textContent: name }), loss === null ? "" : ` loss ${number(loss)}`);
      list.append(make("li", {}, ...(picture ? [picture] : []), about));
    }
    const count = samples.get(at.join()) || 0;
    const more = list.children.length < count ? make("p", { className: "note", textContent: `${list.children.length} of ${count} samples, the highest loss first` }) : "";
    const box = make("div", { className: "behind" }, make("h3", { textContent: words() }), list, more);
    box.setAttribute("aria-live", "polite");
    figure.querySelector(".behind")?.remove();
    figure.querySelector(".panels").after(box);
  };
  const find = (event) => {
    const [x, y] = inside(svg, event);
    const cell = [Math.floor((y - top) / side), Math.floor((x - left) / side)];
    return cell.every((v) => v >= 0 && v < names.length) ? cell : null;
  };
  svg.addEventListener("pointermove", (event) => {
    const cell = find(event);
    if (!cell) return hush();
    at = cell;
    point(event.clientX, event.clientY);
  });
  svg.addEventListener("pointerleave", () => (hush(), cursor.setAttribute("visibility", "hidden")));
  svg.addEventListener("click", (event) => find(event) && behind && ((at = find(event)), shown()));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) {
      at = at.map((v, axis) => Math.max(0, Math.min(names.length - 1, v + step[axis])));
      const frame = svg.getBoundingClientRect();
      const scale = frame.width / svg.viewBox.baseVal.width;
      point(frame.x + scale * (left + (at[1] + 1) * side), frame.y + scale * (top + (at[0] + 1) * side));
    } else if (event.key === "Enter" && behind) shown();
    else if (event.key === "Escape") hush();
    else return;
    event.preventDefault();
  });
  svg.addEventListener("blur", hush);
}

for (const figure of document.querySelectorAll("figure")) {
  let samples = {}; // of the panel before, where a panel names none of its own
  const maps = [...figure.querySelectorAll(".panel[data-points]")].map((panel) => {
    const data = { ...samples, ...JSON.parse(panel.dataset.points) };
    samples = { names: data.names, rows: data.rows, true: data.true, predicted: data.predicted };
    const svg = panel.querySelector("svg");
    const [left, top, width, height] = panel.dataset.box.split(" ").map(Number);
    const view = drawing("svg", { x: left, y: top, width, height, viewBox: `${left} ${top} ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const strokes = [...svg.querySelectorAll("path[clip-path]")];
    const widths = strokes.map((path) => Number(path.getAttribute("stroke-width")));
    strokes[0]?.before(view);
    for (const path of strokes) path.removeAttribute("clip-path");
    view.append(...strokes);
    const ring = drawing("circle", { class: "cursor", visibility: "hidden" });
    view.append(ring);
    const [x0, x1, y0, y1] = data.limits;
    const px = data.x.map((v) => left + ((v - x0) / (x1 - x0)) * width);
    const py = data.y.map((v) => top + ((y1 - v) / (y1 - y0)) * height);
    const map = { panel, data, svg, px, py, rows: new Map(data.rows.map((row, i) => [row, i])) };
    let shown = { x: left, y: top, zoom: 1 };
    map.set = (x, y, zoom) => {
      zoom = Math.max(1, Math.min(40, zoom));
      x = Math.max(left, Math.min(left + width - width / zoom, x));
      y = Math.max(top, Math.min(top + height - height / zoom, y));
      shown = { x, y, zoom };
      view.setAttribute("viewBox", `${x} ${y} ${width / zoom} ${height / zoom}`);
      strokes.forEach((path, i) => path.setAttribute("stroke-width", (widths[i] * Math.min(3, Math.sqrt(zoom))) / zoom));
      ring.setAttribute("r", 6 / zoom);
      ring.setAttribute("stroke-width", 1.5 / zoom);
    };
    map.place = (event) => {
      const [x, y] = inside(svg, event);
      return [shown.x + (x - left) / shown.zoom, shown.y + (y - top) / shown.zoom];
    };
    map.scale = (factor, [x, y] = [shown.x + width / shown.zoom / 2, shown.y + height / shown.zoom / 2]) => {
      const zoom = Math.max(1, Math.min(40, shown.zoom * factor));
      map.set(x - ((x - shown.x) * shown.zoom) / zoom, y - ((y - shown.y) * shown.zoom) / zoom, zoom);
    };
    map.move = (dx, dy) => map.set(shown.x + dx / shown.zoom, shown.y + dy / shown.zoom, shown.zoom);
    map.reset = () => map.set(left, top, 1);
    map.mark = (row) => {
      const i = map.rows.get(row);
      ring.setAttribute("visibility", i === undefined ? "hidden" : "visible");
      if (i !== undefined) (ring.setAttribute("cx", px[i]), ring.setAttribute("cy", py[i]));
    };
    map.nearest = (event) => {
      const [x, y] = map.place(event);
      let best = -1, least = (10 / shown.zoom) ** 2;
      px.forEach((v, i) => {
        const apart = (v - x) ** 2 + (py[i] - y) ** 2;
        if (apart < least) [best, least] = [i, apart];
      });
      return best;
    };
    map.step = (dx, dy) => map.move((dx * width) / 10, (dy * height) / 10);
    map.reset();
    return map;
  });
  for (const map of maps) {
    const { svg, panel, data } = map;
    const section = document.querySelector(".part[id^=evaluation]")?.id;
    const quiet = () => (hush(), maps.forEach((m) => m.mark(undefined)));
    let from = null;
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("pointermove", (event) => {
      if (from) {
        const scale = svg.viewBox.baseVal.width / svg.getBoundingClientRect().width;
        map.move((from[0] - event.clientX) * scale, (from[1] - event.clientY) * scale);
        from = [event.clientX, event.clientY];
        return hush();
      }
      const i = map.nearest(event);
      if (i < 0) return quiet();
      const row = data.rows[i];
      maps.forEach((m) => m.mark(row));
      const name = (k) => data.names?.[k] ?? String(k);
      const lines = [make("b", { textContent: `sample ${row}` }), make("div", { textContent: `true ${name(data.true[i])}` })];
      if (data.predicted) lines.push(make("div", { textContent: `predicted ${name(data.predicted[i])}` }));
      const picture = known(section, row);
      say(event.clientX, event.clientY, ...(picture ? [picture] : []), make("div", {}, ...lines));
    });
    svg.addEventListener("pointerleave", quiet);
    svg.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") return;
      from = [event.clientX, event.clientY];
      svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointerup", () => (from = null));
    svg.addEventListener("dblclick", (event) => map.scale(2, map.place(event)));
    svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      map.scale(event.deltaY < 0 ? 1.25 : 0.8, map.place(event));
    }, { passive: false });
    svg.addEventListener("keydown", (event) => {
      const act = {
        "+": () => map.scale(1.5), "-": () => map.scale(1 / 1.5), 0: map.reset, Escape: quiet,
        ArrowUp: () => map.step(0, -1), ArrowDown: () => map.step(0, 1), ArrowLeft: () => map.step(-1, 0), ArrowRight: () => map.step(1, 0),
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
    const button = (label, text, act) => {
      const made = make("button", { type: "button", textContent: text, title: label });
      made.setAttribute("aria-label", label);
      made.addEventListener("click", act);
      return made;
    };
    panel.append(make("div", { className: "zoom" }, button("Zoom in", "+", () => map.scale(1.5)),
      button("Zoom out", "−", () => map.scale(1 / 1.5)), button("Show all", "⟲", map.reset)));
  }
}
