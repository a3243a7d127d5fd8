"use strict";
// Small helpers to build HTML and SVG. Texts of the data enter as text nodes alone, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function setAll(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

function el(name, attributes, ...children) {
  return setAll(document.createElement(name), attributes, children);
}

function svg(name, attributes, ...children) {
  return setAll(document.createElementNS(SVG, name), attributes, children);
}

// A picture that takes the width of its place; "describe" is what a screen reader says.
function svgPicture(width, height, describe, ...children) {
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": describe }, ...children);
}

function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  return value.toFixed(digits);
}

// A share such as a Dice: with its decimals even where it is 0 or 1.
function score(value, digits = 3) {
  return Number.isFinite(value) ? value.toFixed(digits) : "–";
}

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

// A table from rows of texts or elements; columns named in "numeric" are set to the right.
function table(caption, header, rows, numeric = []) {
  const side = (i) => (numeric.includes(i) ? "number" : null);
  return el(
    "table", null,
    caption && el("caption", null, caption),
    el("thead", null, el("tr", null, header.map((text, i) => el("th", { scope: "col", class: side(i) }, text)))),
    el("tbody", null, rows.map((row) => el("tr", null, row.map((cell, i) =>
      el(i ? "td" : "th", { scope: i ? null : "row", class: side(i) }, cell))))),
  );
}

function section(id, title, ...children) {
  return el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), ...children);
}

function rem() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize);
}

// One note at the pointer for all charts.
const tip = {
  show(event, text) {
    const box = document.getElementById("tip");
    box.textContent = text;
    box.hidden = false;
    const x = Math.min(event.clientX + 14, window.innerWidth - box.offsetWidth - 8);
    const y = event.clientY + 18 + box.offsetHeight > window.innerHeight ? event.clientY - box.offsetHeight - 10 : event.clientY + 18;
    box.style.left = `${Math.max(4, x)}px`;
    box.style.top = `${y}px`;
  },
  hide() {
    document.getElementById("tip").hidden = true;
  },
};

function hover(element, text) {
  element.addEventListener("pointermove", (event) => tip.show(event, typeof text === "function" ? text() : text));
  element.addEventListener("pointerleave", tip.hide);
  return element;
}
