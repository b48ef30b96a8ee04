// The package export `mdlc/data/node`: data sets of files, and batches made ahead by threads. What a browser runs is in `mdlc/data`.
export { Loader, type LoaderOptions } from "./loader.ts";
export { dataForms, type Opened, openData } from "./open.ts";
export { type FolderOptions, pictureFolder } from "./pictures/folder.ts";
