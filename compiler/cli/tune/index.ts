// What `mdl tune` and `mdl compile --tuning` are made of.
export { best, type Pick, search, type Times, type Trial } from "./search.ts";
export { type Row, type Table, targetsWith, tunedTarget } from "./table.ts";
