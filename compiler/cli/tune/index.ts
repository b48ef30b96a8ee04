// What `mdl tune` and `mdl compile --tuning` are made of.
export {
  type Alternative,
  best,
  type Pick,
  search,
  type Times,
  type Trial,
  type Way,
} from "./search.ts";
export { type Row, readTable, type Table, targetsWith, tunedTarget } from "./table.ts";
