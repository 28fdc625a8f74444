/** A grouped bar chart with a logarithmic axis as SVG. */

export interface Chart {
  readonly title: string;
  /** A name and a colour each. */
  readonly series: readonly string[];
  /** A value for each series, null where there is none. */
  readonly groups: ReadonlyArray<{ readonly name: string; readonly values: ReadonlyArray<number | null> }>;
  /** Bars begin here. */
  readonly base: number;
}

/** Okabe and Ito's colours, which most colour-blind people can tell apart. */
const COLOURS = ['#0072b2', '#56b4e9', '#009e73', '#e69f00', '#d55e00', '#cc79a7', '#999999'];
const [LEFT, WIDTH, BAR, GAP, TOP] = [120, 620, 11, 14, 70];
const TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50];

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** The chart as a document; readable on light and dark pages. */
export function barChart({ title, series, groups, base }: Chart): string {
  const values = [base, ...groups.flatMap((group) => group.values.filter((x) => x !== null))];
  const low = TICKS.findLast((tick) => tick <= Math.min(...values)) ?? TICKS[0]!;
  const high = TICKS.find((tick) => tick >= Math.max(...values) && tick > base) ?? TICKS.at(-1)!;
  const x = (value: number): number =>
    LEFT + (WIDTH * Math.log(Math.min(Math.max(value, low), high) / low)) / Math.log(high / low);
  const groupHeight = series.length * BAR + GAP;
  const bottom = TOP + groups.length * groupHeight;
  const out: string[] = [];
  const text = (at: number, y: number, content: string, extra = ''): void => {
    out.push(`<text x="${at.toFixed(1)}" y="${y.toFixed(1)}"${extra}>${escaped(content)}</text>`);
  };
  text(LEFT, 20, title, ' font-weight="bold"');
  for (const [i, name] of series.entries()) {
    const at = LEFT + (i % 6) * 108;
    out.push(`<rect x="${at}" y="32" width="10" height="10" fill="${COLOURS[i % COLOURS.length]}"/>`);
    text(at + 14, 41, name);
  }
  for (const tick of TICKS.filter((t) => t >= low && t <= high)) {
    const width = tick === base ? 1.5 : 0.5;
    out.push(`<path d="M${x(tick).toFixed(1)} ${TOP - 6}V${bottom}" stroke="#888" stroke-width="${width}"/>`);
    text(x(tick), bottom + 14, String(tick), ' text-anchor="middle"');
  }
  for (const [g, { name, values }] of groups.entries()) {
    const y = TOP + g * groupHeight;
    text(LEFT - 8, y + (series.length * BAR) / 2 + 4, name, ' text-anchor="end"');
    for (const [i, value] of values.entries()) {
      if (value === null) continue;
      const [from, to] = [Math.min(x(value), x(base)), Math.max(x(value), x(base))];
      const place = `x="${from.toFixed(1)}" y="${y + i * BAR}" width="${(to - from).toFixed(1)}" height="${BAR - 1}"`;
      const label = `<title>${escaped(`${name}, ${series[i]}: ${value.toFixed(2)}`)}</title>`;
      out.push(`<rect ${place} fill="${COLOURS[i % COLOURS.length]}">${label}</rect>`);
    }
  }
  const size = `width="${LEFT + WIDTH + 30}" height="${bottom + 24}"`;
  const style = 'font-family="sans-serif" font-size="11" fill="#777"';
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${style}>\n${out.join('\n')}\n</svg>\n`;
}
