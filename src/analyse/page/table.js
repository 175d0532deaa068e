// SPDX-License-Identifier: MIT
//
// A table that sorts by any column and shows so many rows at a time, since
// thousands at once are slow to lay out and nobody reads them.
//
// A row can be opened (click, or Enter on it), which shows its details; the
// arrow keys go from row to row.

const ROWS_AT_A_TIME = 100;

export class Table {
  // columns: {name, key(row), show(row), title(row), number, wide, minor}; a minor one is left out
  // where there is little room.  details(row): an element; null: rows cannot be opened.
  constructor(element, columns, details) {
    this.element = element;
    this.columns = columns;
    this.details = details;
    this.sorted = columns.findIndex((c) => c.first);
    this.down = true;
    this.room = ROWS_AT_A_TIME;
    this.head();
    element.tBodies[0].addEventListener("keydown", (event) => this.key(event));
  }

  head() {
    const row = this.element.tHead.insertRow();
    this.columns.forEach((column, i) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.className = this.classOf(column);
      const button = document.createElement("button");
      button.textContent = column.name;
      button.addEventListener("click", () => this.sort(i));
      cell.append(button);
      row.append(cell);
    });
  }

  classOf(column) {
    return ["number", "wide", "minor"].filter((name) => column[name]).join(" ");
  }

  // Numbers begin with the largest, names with the first.
  sort(i) {
    this.down = this.sorted === i ? !this.down : Boolean(this.columns[i].number);
    this.sorted = i;
    this.draw();
  }

  show(rows) {
    this.rows = rows;
    this.room = ROWS_AT_A_TIME;
    this.draw();
  }

  draw() {
    const { key } = this.columns[this.sorted];
    const sign = this.down ? -1 : 1;
    const keyed = this.rows.map((row) => [key(row), row]);
    keyed.sort(([a], [b]) => (a < b ? -sign : a > b ? sign : 0));
    [...this.element.tHead.rows[0].cells].forEach((cell, i) => {
      const order = this.down ? "descending" : "ascending";
      cell.setAttribute("aria-sort", i === this.sorted ? order : "none");
    });
    const body = this.element.tBodies[0];
    const parts = document.createDocumentFragment();
    for (const [, row] of keyed.slice(0, this.room)) parts.append(this.line(row));
    if (keyed.length > this.room) parts.append(this.more(keyed.length - this.room));
    if (keyed.length === 0) parts.append(this.note("none"));
    body.replaceChildren(parts);
    if (body.rows[0]) body.rows[0].tabIndex = 0;
  }

  line(row) {
    const line = document.createElement("tr");
    line.tabIndex = -1;
    for (const column of this.columns) {
      const cell = line.insertCell();
      cell.className = this.classOf(column);
      const shown = column.show ? column.show(row) : column.key(row);
      cell.textContent = shown;
      if (!column.number) cell.title = column.title ? column.title(row) : shown;
    }
    if (this.details) {
      line.setAttribute("aria-expanded", "false");
      line.addEventListener("click", () => this.open(line, row));
      line.openRow = () => this.open(line, row);
    }
    return line;
  }

  note(text) {
    const line = document.createElement("tr");
    const cell = line.insertCell();
    cell.colSpan = this.columns.length;
    cell.className = "note";
    cell.append(text);
    return line;
  }

  more(left) {
    const button = document.createElement("button");
    button.textContent = `show more (${left.toLocaleString("en-US")} left)`;
    button.addEventListener("click", () => {
      this.room += 10 * ROWS_AT_A_TIME;
      this.draw();
    });
    return this.note(button);
  }

  open(line, row) {
    const isOpen = line.getAttribute("aria-expanded") === "true";
    line.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) line.nextSibling.remove();
    else {
      const details = this.note(this.details(row));
      details.className = "details";
      line.after(details);
    }
  }

  key(event) {
    const line = event.target.closest("tr");
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (event.key === "Enter" && event.target === line && line.openRow) {
      event.preventDefault();
      line.openRow();
    } else if (step !== undefined) {
      let next = line[step];
      while (next && next.className === "details") next = next[step];
      event.preventDefault();
      if (next) (next.querySelector(".note button") ?? next).focus();
    }
  }
}
