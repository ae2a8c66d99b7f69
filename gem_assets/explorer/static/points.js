// Points on a canvas: WebGL where there is any, else a density picture. Places are 0 to 65534; 65535 is no place.

const GRID = 65534, NOWHERE = 65535;
const VERTEX = `attribute vec2 place; attribute float code; uniform vec3 view; uniform vec2 aspect; uniform float size; varying float v;
void main() { vec2 p = (place / ${GRID}.0 - view.xy) * view.z * aspect; gl_Position = vec4(p * 2.0, 0.0, 1.0); gl_PointSize = size; v = code; }`;
const FRAGMENT = `precision mediump float; varying float v; uniform sampler2D palette; uniform float alpha;
void main() { vec4 c = texture2D(palette, vec2((v + 0.5) / 256.0, 0.5)); gl_FragColor = vec4(c.rgb * alpha, alpha); }`;

export class Points {
  constructor(canvas, x, y) {
    Object.assign(this, { canvas, x, y, view: { x: 0.5, y: 0.5, zoom: 1.2 } });
    this.gl = canvas.getContext("webgl", { antialias: false, premultipliedAlpha: true, preserveDrawingBuffer: true });
    if (this.gl) this.prepare();
  }

  prepare() {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    this.at = Object.fromEntries(["view", "aspect", "size", "alpha", "palette"].map((n) => [n, gl.getUniformLocation(program, n)]));
    const places = new Uint16Array(this.x.length * 2);
    for (let i = 0; i < this.x.length; i++) { places[2 * i] = this.x[i]; places[2 * i + 1] = this.x[i] === NOWHERE && this.y[i] === NOWHERE ? NOWHERE : GRID - this.y[i]; }
    this.bind(program, "place", places, 2, gl.UNSIGNED_SHORT);
    this.program = program;
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  bind(program, name, data, size, type) {
    const gl = this.gl;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    const place = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, type, false, 0, 0);
  }

  colour(codes, colors) {
    this.codes = codes;
    this.rgb = colors.map(rgb);
    if (!this.gl) return this.draw();
    const gl = this.gl;
    const small = new Uint8Array(codes.length);
    for (let i = 0; i < codes.length; i++) small[i] = codes[i] % 256;
    this.bind(this.program, "code", small, 1, gl.UNSIGNED_BYTE);
    const palette = new Uint8Array(1024);
    this.rgb.slice(0, 256).forEach((c, i) => palette.set([...c, 255], 4 * i));
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, palette);
    for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    this.draw();
  }

  // Both sides of a square map in canvas pixels, whatever the canvas's shape.
  get side() { return Math.min(this.canvas.width, this.canvas.height) * this.view.zoom; }
  toScreen(x, y) { return [this.canvas.width / 2 + (x / GRID - this.view.x) * this.side, this.canvas.height / 2 + (y / GRID - this.view.y) * this.side]; }
  toMap(px, py) { return [((px - this.canvas.width / 2) / this.side + this.view.x) * GRID, ((py - this.canvas.height / 2) / this.side + this.view.y) * GRID]; }

  draw() {
    if (!this.codes) return;
    if (!this.gl) return this.density();
    const { gl, canvas, view, at } = this;
    const shorter = Math.min(canvas.width, canvas.height);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform3f(at.view, view.x, 1 - view.y, view.zoom);
    gl.uniform2f(at.aspect, shorter / canvas.width, shorter / canvas.height);
    const many = this.x.length;
    gl.uniform1f(at.size, Math.max(1.5, Math.min(8, (many < 20000 ? 4 : many < 200000 ? 2.5 : 1.5) * Math.sqrt(view.zoom))));
    gl.uniform1f(at.alpha, many < 20000 ? 0.85 : many < 200000 ? 0.6 : 0.35);
    gl.drawArrays(gl.POINTS, 0, many);
  }

  density() {
    const { canvas, codes, rgb: colors } = this;
    const context = canvas.getContext("2d");
    const step = 4, width = Math.ceil(canvas.width / step), height = Math.ceil(canvas.height / step);
    const counts = new Float32Array(width * height), last = new Uint16Array(width * height);
    for (let i = 0; i < this.x.length; i++) {
      const [px, py] = this.toScreen(this.x[i], this.y[i]);
      const c = Math.floor(px / step), r = Math.floor(py / step);
      if (c >= 0 && r >= 0 && c < width && r < height && this.x[i] !== NOWHERE) { counts[r * width + c]++; last[r * width + c] = codes[i]; }
    }
    const most = Math.log1p(counts.reduce((a, b) => Math.max(a, b), 1));
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (let k = 0; k < counts.length; k++) {
      if (!counts[k]) continue;
      const [r, g, b] = colors[last[k]] || [120, 120, 120];
      context.fillStyle = `rgba(${r},${g},${b},${0.25 + (0.75 * Math.log1p(counts[k])) / most})`;
      context.fillRect((k % width) * step, Math.floor(k / width) * step, step, step);
    }
  }

  nearest(px, py, within = 12) {
    let best = -1, least = within * within;
    for (let i = 0; i < this.x.length; i++) {
      if (this.x[i] === NOWHERE && this.y[i] === NOWHERE) continue;
      const [sx, sy] = this.toScreen(this.x[i], this.y[i]);
      const d = (sx - px) ** 2 + (sy - py) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  }

  // Rows inside a polygon of screen points.
  inside(polygon) {
    const corners = polygon.map(([px, py]) => this.toMap(px, py));
    const found = [];
    for (let i = 0; i < this.x.length; i++) {
      let within = false;
      for (let a = 0, b = corners.length - 1; a < corners.length; b = a++) {
        const [ax, ay] = corners[a], [bx, by] = corners[b];
        if (ay > this.y[i] !== by > this.y[i] && this.x[i] < ((bx - ax) * (this.y[i] - ay)) / (by - ay) + ax) within = !within;
      }
      if (within) found.push(i);
    }
    return found;
  }
}

function rgb(text) {
  const context = rgb.context || (rgb.context = document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
  context.fillStyle = text;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
