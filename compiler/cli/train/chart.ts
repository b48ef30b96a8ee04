// Curves, in the terminal and as SVG. In: numbers by step. Out: text. Own code, because a curve in blocks is twenty lines and the
// packages for it draw with other characters or one series.

export interface Point {
  readonly x: number;
  readonly y: number;
}
export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

const BLOCKS = " ▁▂▃▄▅▆▇█";

/** Means over columns as bars, from 0 (or the least, where it is below) to the most. */
export function curveText(values: readonly number[], dim: (s: string) => string): string {
  const [columns, rows] = [60, 8];
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0) return "";
  const per = Math.max(1, finite.length / columns);
  const means = Array.from({ length: Math.min(columns, finite.length) }, (_, i) => {
    const own = finite.slice(
      Math.floor(i * per),
      Math.max(Math.floor(i * per) + 1, Math.floor((i + 1) * per)),
    );
    return own.reduce((a, b) => a + b, 0) / own.length;
  });
  const low = Math.min(0, ...means);
  const high = Math.max(...means);
  const span = high - low || 1;
  return Array.from({ length: rows }, (_, row) => {
    const bars = means.map((m) => {
      const filled = Math.round((((m - low) / span) * rows - (rows - 1 - row)) * 8);
      return BLOCKS[Math.min(8, Math.max(0, filled))];
    });
    const label = row === 0 ? short(high) : row === rows - 1 ? short(low) : "";
    return `  ${dim(label.padStart(7))} ${bars.join("")}`;
  }).join("\n");
}

/** Four digits that matter. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(2);
  return size >= 100 ? value.toFixed(1) : size >= 1 ? value.toFixed(3) : value.toFixed(4);
}

const COLOURS = ["#2563eb", "#dc2626", "#16a34a", "#9333ea", "#ea580c"];
const [WIDTH, HEIGHT, LEFT, TOP, GAP] = [720, 240, 64, 28, 40];

interface Axis {
  readonly low: number;
  readonly high: number;
}

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** One chart below the other, each with its series. `log` lays x out by its logarithm. */
export function chartSvg(
  title: string,
  charts: readonly { readonly title: string; readonly series: readonly Series[] }[],
  options: { readonly x?: string; readonly log?: boolean } = {},
): string {
  const { x = "step", log = false } = options;
  const height = TOP + charts.length * (HEIGHT + GAP) + 8;
  const body = charts.map(({ title: own, series }, i) => {
    const top = TOP + i * (HEIGHT + GAP) + 14;
    const points = series.flatMap((s) => s.points).filter((p) => Number.isFinite(p.y));
    const place = (v: number): number => (log ? Math.log10(v) : v);
    const xs = axisOf(points.map((p) => place(p.x)));
    const ys = axisOf(points.map((p) => p.y));
    const at = (p: Point): readonly [string, string] => [
      (LEFT + ((place(p.x) - xs.low) / (xs.high - xs.low)) * (WIDTH - LEFT - 16)).toFixed(1),
      (top + (1 - (p.y - ys.low) / (ys.high - ys.low)) * (HEIGHT - 28)).toFixed(1),
    ];
    const grid = Array.from({ length: 5 }, (_, k) => {
      const value = ys.low + ((ys.high - ys.low) * k) / 4;
      const y = top + (1 - k / 4) * (HEIGHT - 28);
      return `<line x1="${LEFT}" x2="${WIDTH - 16}" y1="${y}" y2="${y}" stroke="#ddd"/><text x="${LEFT - 6}" y="${y + 4}" text-anchor="end">${short(value)}</text>`;
    });
    const ticks = Array.from({ length: 5 }, (_, k) => {
      const value = xs.low + ((xs.high - xs.low) * k) / 4;
      const px = LEFT + (k / 4) * (WIDTH - LEFT - 16);
      const text = log ? (10 ** value).toExponential(1) : short(Math.round(value));
      return `<text x="${px}" y="${top + HEIGHT - 12}" text-anchor="middle">${text}</text>`;
    });
    const lines = series.map((s, k) => {
      const colour = COLOURS[k % COLOURS.length];
      const own = s.points.filter((p) => Number.isFinite(p.y)).map(at);
      const dots =
        own.length <= 40
          ? own.map(([px, py]) => `<circle cx="${px}" cy="${py}" r="2.5" fill="${colour}"/>`).join("")
          : "";
      return `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${own.join(" ")}"/>${dots}<text x="${LEFT + 8 + 110 * k}" y="${top - 4}" fill="${colour}">${escaped(s.name)}</text>`;
    });
    return `<text x="4" y="${top - 4}" font-weight="bold">${escaped(own)}</text>${grid.join("")}${ticks.join("")}${lines.join("")}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="4" y="16" font-size="14">${escaped(title)}</text>
${body.join("\n")}
<text x="${WIDTH - 16}" y="${height - 4}" text-anchor="end">${escaped(x)}</text>
</svg>
`;
}

function axisOf(values: readonly number[]): Axis {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const v of values) [low, high] = [Math.min(low, v), Math.max(high, v)];
  if (low > high) return { low: 0, high: 1 };
  return low === high ? { low: low - 0.5, high: high + 0.5 } : { low, high };
}
