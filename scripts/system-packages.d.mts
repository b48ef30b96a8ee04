export interface Recipe {
  readonly what: string;
  readonly commands: readonly string[];
}
export function softwareDriverRecipe(): Recipe | undefined;
export function chromiumRecipe(): Recipe | undefined;
export function asOneCommand(recipe: Recipe): string;
export function install(recipe: Recipe, say: (line: string) => void): boolean;
