// Charts: a Vega-Lite specification in, the text of an SVG file out.
import { parse, View } from "vega";
import { compile } from "vega-lite";

export const svgOf = (spec) => new View(parse(compile(spec).spec), { renderer: "none" }).toSVG();
