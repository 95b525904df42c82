/* The map of codes: a plane of the latent space, its points, and what lies over them.
 *
 * Three canvases: decoded tiles at the bottom, where they are asked for; points, which are drawn when
 * the view changes; the code, the walk and the cloud above, which are drawn at every move. */
'use strict';

const MAP = { pad: 34, radius: 14, wheel: 1.0015, step: 1.3 };

class LatentMap {
  /** points: { x, y, label } by place in the plane, as Float32Arrays; `on` has callbacks: hover(i,
   * event), leave(), drag(x, y), pick(i or null, x, y), key(dx, dy). */
  constructor(host, on) {
    this.on = on;
    this.hidden = new Set();
    this.marks = { code: null, walk: [], cloud: [], own: null };
    this.bottom = el('canvas', { 'aria-hidden': 'true' });
    this.tiled = false;
    this.below = el('canvas', { className: 'map-points', 'aria-hidden': 'true' });
    this.above = el('canvas', {
      className: 'map-marks',
      tabIndex: 0,
      role: 'application',
      'aria-label': 'Map of codes. Arrow keys move the code, plus and minus zoom, zero shows all.',
    });
    this.host = host;
    host.append(this.bottom, this.below, this.above);
    this.listen();
    new ResizeObserver(() => this.resize()).observe(host);
    painted(() => this.repaint());
  }

  /** Show these points, whole. circles: radii of the prior. */
  show(points, names, circles) {
    Object.assign(this, { points, names, circles });
    this.whole();
  }

  /** The view that holds all points. */
  whole() {
    const { x, y } = this.points;
    const range = (values) => {
      let [low, high] = [Infinity, -Infinity];
      for (const value of values) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
      return [low, high];
    };
    const [left, right] = range(x);
    const [bottom, top] = range(y);
    this.center = [(left + right) / 2, (bottom + top) / 2];
    this.span = 1.08 * Math.max(right - left, top - bottom, 1e-6);
    this.repaint();
  }

  zoom(factor, around = this.center) {
    this.center = this.center.map((c, i) => around[i] + (c - around[i]) / factor);
    this.span /= factor;
    this.repaint();
  }

  resize() {
    const { width, height } = this.host.getBoundingClientRect();
    if (width < 10) return;
    const density = devicePixelRatio || 1;
    Object.assign(this, { width, height, density });
    for (const canvas of [this.bottom, this.below, this.above]) {
      canvas.width = Math.round(width * density); // which also clears it
      canvas.height = Math.round(height * density);
    }
    this.repaint();
  }

  /** Pixels per unit of the plane; both axes have the same. */
  get scale() { return (Math.min(this.width, this.height) - MAP.pad) / this.span; }

  toScreen(x, y) {
    return [
      (this.width + MAP.pad) / 2 + (x - this.center[0]) * this.scale,
      (this.height - MAP.pad) / 2 - (y - this.center[1]) * this.scale,
    ];
  }

  toPlane(px, py) {
    return [
      this.center[0] + (px - (this.width + MAP.pad) / 2) / this.scale,
      this.center[1] - (py - (this.height - MAP.pad) / 2) / this.scale,
    ];
  }

  repaint() {
    if (!this.points || !this.width) return;
    this.paintPoints();
    this.paintMarks();
    this.on.view?.();
  }

  context(canvas) {
    const context = canvas.getContext('2d');
    context.setTransform(this.density, 0, 0, this.density, 0, 0);
    // In two parts: on paper Chromium lets the clearing of a whole canvas clear those below it too.
    for (const half of [0, 1]) context.clearRect(0, (half * this.height) / 2, this.width, this.height / 2);
    return context;
  }

  paintPoints() {
    const context = this.context(this.below);
    this.paintAxes(context);
    const { x, y, label } = this.points;
    const size = Math.max(2, Math.min(6, (4.2 * Math.sqrt(this.width / 560)) / (x.length / 2500) ** 0.25));
    context.globalAlpha = this.tiled ? 0.6 : Math.max(0.45, Math.min(0.95, 6 / x.length ** 0.25));
    for (let i = 0; i < x.length; i++) {
      if (this.hidden.has(label[i])) continue;
      const [px, py] = this.toScreen(x[i], y[i]);
      if (px < MAP.pad || py > this.height - MAP.pad || px > this.width || py < 0) continue;
      context.fillStyle = this.colors[label[i] + 1];
      context.fillRect(px - size / 2, py - size / 2, size, size);
    }
    context.globalAlpha = 1;
  }

  /** Begin with decoded tiles anew, or go without them. */
  clearTiles(tiled) {
    if (this.tiled !== tiled) {
      this.tiled = tiled;
      this.paintPoints();
    }
    const context = this.context(this.bottom);
    context.beginPath();
    context.rect(MAP.pad, 0, this.width - MAP.pad, this.height - MAP.pad);
    context.clip();
    context.imageSmoothingEnabled = false;
    this.tiling = context;
  }

  /** A picture, `size` wide, with its middle at a place. */
  drawTile(image, x, y, size) {
    const [px, py] = this.toScreen(x, y);
    const side = size * this.scale;
    this.tiling.drawImage(image, px - side / 2, py - side / 2, side + 0.5, side + 0.5);
  }

  paintAxes(context) {
    const [width, height, pad] = [this.width, this.height, MAP.pad];
    context.strokeStyle = color('--line');
    context.fillStyle = color('--muted');
    context.font = '11px system-ui, sans-serif';
    context.lineWidth = 1;
    const most = this.span / 3; // so that an axis has three steps at least
    const power = 10 ** Math.floor(Math.log10(most));
    const step = [5, 2, 1, 0.5].map((m) => m * power).find((s) => s <= most);
    const [left, bottom] = this.toPlane(pad, height - pad);
    const [right, top] = this.toPlane(width, 0);
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    const text = (value) => (Math.abs(value) < step / 2 ? 0 : value).toFixed(digits).replace('-', '\u2212');
    context.textAlign = 'center';
    for (let v = Math.ceil(left / step) * step; v <= right; v += step) {
      const [px] = this.toScreen(v, 0);
      if (px > width - 12) continue;
      if (!this.tiled) line(context, px, 0, px, height - pad);
      context.fillText(text(v), px, height - pad + 14);
    }
    context.textAlign = 'right';
    if (this.names[1]) {
      for (let v = Math.ceil(bottom / step) * step; v <= top; v += step) {
        const [, py] = this.toScreen(0, v);
        if (py < 8) continue;
        if (!this.tiled) line(context, pad, py, width, py);
        context.fillText(text(v), pad - 5, py + 4);
      }
    }
    context.textAlign = 'center';
    context.fillStyle = color('--ink');
    context.fillText(this.names[0], (width + pad) / 2, height - 4);
    context.save();
    context.translate(10, (height - pad) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(this.names[1], 0, 0);
    context.restore();
    context.strokeStyle = color('--muted');
    context.setLineDash([3, 4]);
    for (const radius of this.circles) {
      const [px, py] = this.toScreen(0, 0);
      context.save();
      context.beginPath();
      context.rect(pad, 0, width - pad, height - pad);
      context.clip();
      context.beginPath();
      context.arc(px, py, radius * this.scale, 0, 2 * Math.PI);
      context.stroke();
      context.restore();
    }
    context.setLineDash([]);
  }

  paintMarks() {
    if (!this.points || !this.width) return;
    const context = this.context(this.above);
    const ink = color('--ink');
    const paper = color('--paper');
    const { code, walk, cloud, own } = this.marks;
    context.fillStyle = color('--accent');
    context.globalAlpha = 0.5;
    for (const [x, y] of cloud) {
      const [px, py] = this.toScreen(x, y);
      context.fillRect(px - 1.5, py - 1.5, 3, 3);
    }
    context.globalAlpha = 1;
    const ring = ([x, y], radius, fill, letter) => {
      const [px, py] = this.toScreen(x, y);
      context.beginPath();
      context.arc(px, py, radius, 0, 2 * Math.PI);
      context.lineWidth = 4;
      context.strokeStyle = paper;
      context.stroke();
      context.lineWidth = 2;
      context.strokeStyle = ink;
      context.stroke();
      if (fill) { context.fillStyle = fill; context.fill(); }
      if (letter) {
        context.font = 'bold 11px system-ui, sans-serif';
        context.textAlign = 'center';
        context.fillStyle = ink;
        context.fillText(letter, px, py + 4);
      }
    };
    if (walk.length === 2) {
      const [a, b] = walk.map(([x, y]) => this.toScreen(x, y));
      for (const [width, style] of [[5, paper], [2, ink]]) {
        Object.assign(context, { lineWidth: width, strokeStyle: style });
        line(context, ...a, ...b);
      }
    }
    walk.forEach((place, i) => ring(place, 9, paper, 'AB'[i]));
    if (own) {
      const [px, py] = this.toScreen(...own);
      for (const [width, style] of [[5, paper], [2.5, color('--accent')]]) {
        context.lineWidth = width;
        context.strokeStyle = style;
        line(context, px - 8, py - 8, px + 8, py + 8);
        line(context, px - 8, py + 8, px + 8, py - 8);
      }
    }
    if (code) ring(code, 6, null, '');
  }

  /** The nearest visible point within a few pixels; null: none. */
  pointAt(px, py) {
    const { x, y, label } = this.points;
    const [at, up] = this.toPlane(px, py);
    let nearest = null;
    let least = (MAP.radius / this.scale) ** 2;
    for (let i = 0; i < x.length; i++) {
      const distance = (x[i] - at) ** 2 + (y[i] - up) ** 2;
      if (distance < least && !this.hidden.has(label[i])) [nearest, least] = [i, distance];
    }
    return nearest;
  }

  listen() {
    const pointers = new Map();
    let start = null; // where one pointer went down; null while it is no click and no drag
    let panning = false;
    const place = (event) => {
      const box = this.above.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.above.addEventListener('pointerdown', (event) => {
      this.above.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, place(event));
      start = pointers.size === 1 ? { at: place(event), moved: false } : null;
      panning = event.shiftKey || event.button === 1;
    });
    this.above.addEventListener('pointermove', (event) => {
      const at = place(event);
      const before = pointers.get(event.pointerId);
      if (!before) {
        this.on.hover(this.pointAt(...at), at);
        return;
      }
      if (pointers.size === 2) this.pinch(pointers, event.pointerId, at);
      else if (panning) this.pan(at[0] - before[0], at[1] - before[1]);
      else if (start) {
        start.moved ||= Math.hypot(at[0] - start.at[0], at[1] - start.at[1]) > 4;
        if (start.moved) this.on.drag(...this.toPlane(...at));
      }
      pointers.set(event.pointerId, at);
    });
    const up = (event) => {
      pointers.delete(event.pointerId);
      if (start && !start.moved && !panning && event.type === 'pointerup') {
        this.on.pick(this.pointAt(...start.at), ...this.toPlane(...start.at));
      }
      start = null;
    };
    this.above.addEventListener('pointerup', up);
    this.above.addEventListener('pointercancel', up);
    this.above.addEventListener('pointerleave', () => this.on.leave());
    // A page that is scrolled past the map is not to be held by it.
    this.above.addEventListener('wheel', (event) => {
      if (!event.ctrlKey && !event.metaKey && document.activeElement !== this.above) return;
      event.preventDefault();
      this.zoom(MAP.wheel ** -event.deltaY, this.toPlane(...place(event)));
    }, { passive: false });
    this.above.addEventListener('keydown', (event) => {
      const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      const arrow = arrows[event.key];
      if (arrow && event.shiftKey) this.pan(-30 * arrow[0], 30 * arrow[1]);
      else if (arrow) this.on.key(...arrow.map((d) => (d * this.span) / 60));
      else if (event.key === '+' || event.key === '=') this.zoom(MAP.step);
      else if (event.key === '-') this.zoom(1 / MAP.step);
      else if (event.key === '0') this.whole();
      else return;
      event.preventDefault();
    });
  }

  pan(dx, dy) {
    this.center = [this.center[0] - dx / this.scale, this.center[1] + dy / this.scale];
    this.repaint();
  }

  pinch(pointers, moved, at) {
    const other = [...pointers].find(([id]) => id !== moved)[1];
    const before = pointers.get(moved);
    const length = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
    this.pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    this.zoom(length(at) / Math.max(1, length(before)), this.toPlane(...other));
  }
}
