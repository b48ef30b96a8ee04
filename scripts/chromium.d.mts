export function locateChromium(): string | undefined;
