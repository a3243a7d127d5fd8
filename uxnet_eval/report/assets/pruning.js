"use strict";
// From gates to kept edges: rule (a), rule (b) and the rescue, as strategies/pruning.py derives them.
// grid: {nodes, sources, targets, input, output}; edges are indices, in the order of computation.

function reach(numNodes, start, from, to, open) {
  const seen = new Array(numNodes).fill(false);
  const stack = [start];
  seen[start] = true;
  while (stack.length) {
    const node = stack.pop();
    for (let e = 0; e < from.length; e++) {
      if (open[e] && from[e] === node && !seen[to[e]]) {
        seen[to[e]] = true;
        stack.push(to[e]);
      }
    }
  }
  return seen;
}

// Rule (b): of the open edges those on a path from the input to the output.
function liveEdges(grid, open) {
  const fromInput = reach(grid.nodes.length, grid.input, grid.sources, grid.targets, open);
  const toOutput = reach(grid.nodes.length, grid.output, grid.targets, grid.sources, open);
  return open.map((isOpen, e) => isOpen && fromInput[grid.sources[e]] && toOutput[grid.targets[e]]);
}

// The path whose weakest gate is largest; of equally wide ones the shorter, then the first.
function widestPath(grid, gates) {
  const best = new Array(grid.nodes.length).fill(null);
  best[grid.input] = { width: 1, path: [] };
  for (let node = 0; node < grid.nodes.length; node++) {
    if (node === grid.input) continue;
    for (let e = 0; e < gates.length; e++) {
      const before = best[grid.sources[e]];
      if (grid.targets[e] !== node || !before) continue;
      const width = Math.min(before.width, gates[e]);
      const found = best[node];
      if (!found || width > found.width || (width === found.width && before.path.length + 1 < found.path.length))
        best[node] = { width, path: [...before.path, e] };
    }
  }
  return best[grid.output].path;
}

// kept: per edge; rescued: the edges of the path that had to be restored, empty if none.
function keepEdges(grid, gates, tau) {
  const open = gates.map((gate) => gate >= tau);
  const kept = liveEdges(grid, open);
  if (kept.some(Boolean)) return { open, kept, rescued: [] };
  const rescued = widestPath(grid, gates);
  const opened = open.slice();
  for (const e of rescued) opened[e] = true;
  return { open, kept: liveEdges(grid, opened), rescued };
}

// What an edge is in the drawing.
function edgeRole(state, e) {
  if (state.kept[e]) return state.open[e] ? "kept" : "restored";
  return state.open[e] ? "dead" : "pruned";
}

function liveNodes(grid, kept) {
  const live = new Array(grid.nodes.length).fill(false);
  kept.forEach((isKept, e) => {
    if (isKept) live[grid.sources[e]] = live[grid.targets[e]] = true;
  });
  return live;
}

// The first of the largest, as Python's max.
function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

function decidedShare(gates) {
  if (!gates.length) return 1;
  return gates.filter((gate) => gate < 0.2 || gate > 0.8).length / gates.length;
}
