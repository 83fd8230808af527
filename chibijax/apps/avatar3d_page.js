// Frames of reference as in chibijax: world to camera, x right, y down, z
// forward; the centre of the first pixel is (0.5, 0.5).
const Head = (() => {
  const bytes = (text) => {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out.buffer;
  };

  // The file's numbers as arrays that are ready to be drawn.
  const unpack = (file) => {
    const n = file.count, v = file.moving, means = new Float32Array(3 * n);
    const grid = new Uint16Array(bytes(file.means));
    for (let i = 0; i < 3 * n; i++) {
      means[i] = file.low[i % 3] + file.step[i % 3] * grid[i];
    }
    const sizes = new Uint8Array(bytes(file.scales));
    const turns = new Int8Array(bytes(file.quats));
    const covariances = new Float32Array(6 * n);
    const [least, ratio] = file.sizes;
    for (let i = 0; i < n; i++) {
      const s = [0, 1, 2].map((k) => least * Math.exp(ratio * sizes[3 * i + k]));
      let [w, x, y, z] = turns.subarray(4 * i, 4 * i + 4);
      const length = Math.hypot(w, x, y, z) || 1;
      w /= length; x /= length; y /= length; z /= length;
      const r = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)];
      const m = r.map((value, k) => value * s[k % 3]);
      const dot = (a, b) => m[3 * a] * m[3 * b] + m[3 * a + 1] * m[3 * b + 1]
        + m[3 * a + 2] * m[3 * b + 2];
      covariances.set(
        [dot(0, 0), dot(0, 1), dot(0, 2), dot(1, 1), dot(1, 2), dot(2, 2)],
        6 * i);
    }
    return {
      count: n, moving: v, means, covariances,
      colors: new Uint8Array(bytes(file.colors)),
      rest: means.slice(3 * (n - v)),
      basis: new Int16Array(bytes(file.basis)), units: file.units,
      blend: new Float32Array(bytes(file.blend)),
      views: new Float32Array(bytes(file.views)),
      frames: file.frames, fps: file.fps, focal: file.focal, pivot: file.pivot,
    };
  };

  // Moves the Gaussians that follow the face: rest + sum of blend x basis.
  const pose = (scene, frame) => {
    const { units, basis, rest, means } = scene, size = rest.length;
    const start = means.length - size, many = units.length;
    means.set(rest, start);
    for (let k = 0; k < many; k++) {
      const share = scene.blend[frame * many + k] * units[k];
      for (let i = 0; i < size; i++) {
        means[start + i] += share * basis[k * size + i];
      }
    }
  };

  // A frame's camera, gone around the head by angles in radians.
  const camera = (scene, frame, yaw, pitch) => {
    const v = scene.views.subarray(12 * frame, 12 * frame + 12);
    const p = scene.pivot, c = [0, 1, 2].map((i) =>
      v[4 * i] * p[0] + v[4 * i + 1] * p[1] + v[4 * i + 2] * p[2]
        + v[4 * i + 3]);
    const cy = Math.cos(yaw), sy = Math.sin(yaw);
    const cp = Math.cos(pitch), sp = Math.sin(pitch);
    const turn = [cy, 0, sy, sp * sy, cp, -sp * cy, -cp * sy, sp, cp * cy];
    const out = new Float32Array(12);
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 4; j++) {
        let sum = j === 3 ? c[i] : 0;
        for (let k = 0; k < 3; k++) {
          sum += turn[3 * i + k] * (v[4 * k + j] - (j === 3 ? c[k] : 0));
        }
        out[4 * i + j] = sum;
      }
    }
    return out;
  };

  // Numbers of the Gaussians by depth, far to near: a counting sort.
  const order = (scene, view, out) => {
    const n = scene.count, m = scene.means, buckets = 1 << 16;
    const depth = new Float32Array(n);
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < n; i++) {
      const d = view[8] * m[3 * i] + view[9] * m[3 * i + 1]
        + view[10] * m[3 * i + 2] + view[11];
      depth[i] = d;
      // As rounded: nothing may lie below the lowest.
      low = Math.min(low, depth[i]);
      high = Math.max(high, depth[i]);
    }
    const unit = (buckets - 1) / Math.max(high - low, 1e-9);
    const counts = new Uint32Array(buckets + 1), place = new Uint16Array(n);
    for (let i = 0; i < n; i++) {
      place[i] = buckets - 1 - Math.floor((depth[i] - low) * unit);
      counts[place[i] + 1]++;
    }
    for (let k = 0; k < buckets; k++) counts[k + 1] += counts[k];
    for (let i = 0; i < n; i++) out[counts[place[i]]++] = i;
    return out;
  };

  // A Gaussian in the picture: g = centre x, y, variances x, y, and the inverse
  // covariance xx, xy, yy. False if it is behind the camera.
  const project = (scene, i, view, focal, half, g) => {
    const m = scene.means, c = scene.covariances, v = view, k = 6 * i;
    const mx = m[3 * i], my = m[3 * i + 1], mz = m[3 * i + 2];
    const z = v[8] * mx + v[9] * my + v[10] * mz + v[11];
    if (z < 0.01) return false;
    const x = (v[0] * mx + v[1] * my + v[2] * mz + v[3]) / z;
    const y = (v[4] * mx + v[5] * my + v[6] * mz + v[7]) / z, f = focal / z;
    // Rows of the projection's Jacobian, and the covariance times them.
    const a0 = f * (v[0] - x * v[8]), b0 = f * (v[4] - y * v[8]);
    const a1 = f * (v[1] - x * v[9]), b1 = f * (v[5] - y * v[9]);
    const a2 = f * (v[2] - x * v[10]), b2 = f * (v[6] - y * v[10]);
    const s0 = c[k] * a0 + c[k + 1] * a1 + c[k + 2] * a2;
    const s1 = c[k + 1] * a0 + c[k + 3] * a1 + c[k + 4] * a2;
    const s2 = c[k + 2] * a0 + c[k + 4] * a1 + c[k + 5] * a2;
    const t0 = c[k] * b0 + c[k + 1] * b1 + c[k + 2] * b2;
    const t1 = c[k + 1] * b0 + c[k + 3] * b1 + c[k + 4] * b2;
    const t2 = c[k + 2] * b0 + c[k + 4] * b1 + c[k + 5] * b2;
    const xx = a0 * s0 + a1 * s1 + a2 * s2 + 0.3;
    const xy = b0 * s0 + b1 * s1 + b2 * s2;
    const yy = b0 * t0 + b1 * t1 + b2 * t2 + 0.3;
    const area = xx * yy - xy * xy;
    g[0] = focal * x + half; g[1] = focal * y + half; g[2] = xx; g[3] = yy;
    g[4] = yy / area; g[5] = -xy / area; g[6] = xx / area;
    return true;
  };

  // A picture without a graphics card, size x size RGBA, near to far.
  const paint = (scene, view, size, zoom) => {
    const light = new Float32Array(size * size).fill(1);
    const color = new Float32Array(3 * size * size), g = new Float64Array(7);
    const far = order(scene, view, new Uint32Array(scene.count));
    const focal = scene.focal * size / 2 * zoom, { colors } = scene;
    for (let k = scene.count - 1; k >= 0; k--) {
      const i = far[k], opacity = colors[4 * i + 3] / 255;
      if (opacity <= 1 / 255 || !project(scene, i, view, focal, size / 2, g)) {
        continue;
      }
      // Where power = reach / 2, a byte of opacity is left.
      const reach = 2 * Math.log(255 * opacity), [cx, cy, , yy, a, b, c] = g;
      const red = colors[4 * i], green = colors[4 * i + 1];
      const blue = colors[4 * i + 2], tall = Math.sqrt(reach * yy);
      const y1 = Math.min(size - 1, Math.floor(cy + tall - 0.5));
      for (let y = Math.max(0, Math.ceil(cy - tall - 0.5)); y <= y1; y++) {
        const dy = y + 0.5 - cy, middle = cx - 0.5 - b * dy / a;
        const wide = (b * b * dy * dy - a * (c * dy * dy - reach)) / (a * a);
        if (wide < 0) continue;
        const half = Math.sqrt(wide);
        const x1 = Math.min(size - 1, Math.floor(middle + half));
        for (let x = Math.max(0, Math.ceil(middle - half)); x <= x1; x++) {
          const p = y * size + x, left = light[p];
          if (left < 1e-3) continue;
          const dx = x + 0.5 - cx;
          const power = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy;
          const alpha = Math.min(0.99, opacity * Math.exp(-power));
          const share = left * alpha;
          color[3 * p] += share * red;
          color[3 * p + 1] += share * green;
          color[3 * p + 2] += share * blue;
          light[p] = left - share;
        }
      }
    }
    const out = new Uint8ClampedArray(4 * size * size).fill(255);
    for (let p = 0; p < size * size; p++) {
      for (let c = 0; c < 3; c++) out[4 * p + c] = color[3 * p + c];
    }
    return out;
  };

  return { unpack, pose, camera, order, project, paint };
})();

// Draws with WebGL2; null where there is none.
const makeGl = (canvas, scene) => {
  const gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
  if (!gl) return null;
  const vertex = `#version 300 es
precision highp float; precision highp int; precision highp sampler2D;
uniform sampler2D means, covariances, colors;
uniform vec4 rows[3]; uniform vec2 size; uniform float focal;
in vec2 corner; in uint number;
out vec2 apart; out vec4 color; flat out vec3 form;
ivec2 at(int i) { return ivec2(i % ${1024}, i / ${1024}); }
void main() {
  int i = int(number);
  vec4 mean = vec4(texelFetch(means, at(i), 0).xyz, 1.0);
  vec3 p = vec3(dot(rows[0], mean), dot(rows[1], mean), dot(rows[2], mean));
  vec3 u = texelFetch(covariances, at(2 * i), 0).xyz;
  vec3 w = texelFetch(covariances, at(2 * i + 1), 0).xyz;
  color = texelFetch(colors, at(i), 0);
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  apart = vec2(0.0); form = vec3(0.0);
  if (p.z < 0.01 || color.a <= 1.0 / 255.0) return;
  vec3 a = focal / p.z * (rows[0].xyz - p.x / p.z * rows[2].xyz);
  vec3 b = focal / p.z * (rows[1].xyz - p.y / p.z * rows[2].xyz);
  mat3 s = mat3(u.x, u.y, u.z, u.y, w.x, w.y, u.z, w.y, w.z);
  float xx = dot(a, s * a) + 0.3, xy = dot(a, s * b), yy = dot(b, s * b) + 0.3;
  float area = xx * yy - xy * xy;
  form = vec3(yy, -xy, xx) / area;
  float reach = sqrt(2.0 * log(255.0 * color.a));
  apart = corner * reach * sqrt(vec2(xx, yy));
  vec2 pixel = focal * p.xy / p.z + size / 2.0 + apart;
  gl_Position = vec4(pixel.x / size.x * 2.0 - 1.0,
    1.0 - pixel.y / size.y * 2.0, 0.0, 1.0);
}`;
  const fragment = `#version 300 es
precision highp float;
in vec2 apart; in vec4 color; flat in vec3 form; out vec4 result;
void main() {
  float power = 0.5 * (form.x * apart.x * apart.x + form.z * apart.y * apart.y)
    + form.y * apart.x * apart.y;
  float alpha = min(0.99, color.a * exp(-power));
  if (alpha < 1.0 / 255.0) discard;
  result = vec4(color.rgb * alpha, alpha);
}`;
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex],
    [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
  gl.useProgram(program);
  const where = (name) => gl.getUniformLocation(program, name);
  const wide = 1024, texture = (unit, name) => {
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const key of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_2D, key, gl.NEAREST);
    }
    gl.uniform1i(where(name), unit);
  };
  const rows = (items) => Math.ceil(items / wide);
  const upload = (items, inside, format, type, filled) => gl.texImage2D(
    gl.TEXTURE_2D, 0, inside, wide, rows(items), 0, format, type, filled);
  const n = scene.count, means = new Float32Array(3 * wide * rows(n));
  const halves = new Float32Array(3 * wide * rows(2 * n));
  halves.set(scene.covariances);
  const colors = new Uint8Array(4 * wide * rows(n));
  colors.set(scene.colors);
  texture(1, "covariances");
  upload(2 * n, gl.RGB32F, gl.RGB, gl.FLOAT, halves);
  texture(2, "colors");
  upload(n, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, colors);
  texture(0, "means");
  const attribute = (name, data) => {
    const place = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(place);
    return place;
  };
  const corners = new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]);
  gl.vertexAttribPointer(attribute("corner", corners), 2, gl.FLOAT, false, 0, 0);
  const numbers = new Uint32Array(n), place = attribute("number", numbers);
  gl.vertexAttribIPointer(place, 1, gl.UNSIGNED_INT, 0, 0);
  gl.vertexAttribDivisor(place, 1);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  return (view, zoom) => {
    const { width, height } = canvas;
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    means.set(scene.means);
    upload(n, gl.RGB32F, gl.RGB, gl.FLOAT, means);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, Head.order(scene, view, numbers));
    gl.uniform4fv(where("rows"), view);
    gl.uniform2f(where("size"), width, height);
    gl.uniform1f(where("focal"),
      scene.focal * Math.min(width, height) / 2 * zoom);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, n);
  };
};

// Draws with the processor, small.
const makeFlat = (canvas, scene) => {
  const context = canvas.getContext("2d"), size = 160;
  const small = document.createElement("canvas");
  small.width = small.height = size;
  return (view, zoom) => {
    const picture = new ImageData(Head.paint(scene, view, size, zoom), size);
    small.getContext("2d").putImageData(picture, 0, 0);
    const side = Math.min(canvas.width, canvas.height);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(small, (canvas.width - side) / 2,
      (canvas.height - side) / 2, side, side);
  };
};
