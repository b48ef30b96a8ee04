export function bundleCli(root: string, folder: string): Promise<void>;
