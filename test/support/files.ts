// Files of the project by their path from its top.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const projectRoot = fileURLToPath(new URL("../../", import.meta.url));

export const projectFile = (path: string): string => readFileSync(projectRoot + path, "utf8");
