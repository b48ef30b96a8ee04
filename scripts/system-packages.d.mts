export interface Recipe {
  readonly what: string;
  readonly commands: readonly string[];
  readonly first?: string;
}
export function debianArchive(sources: string): string | undefined;
export function softwareDriverRecipe(sources?: string): Recipe | undefined;
export function estimatorRecipe(sources?: string): Recipe | undefined;
export function chromiumRecipe(): Recipe | undefined;
export function asOneCommand(recipe: Recipe): string;
export function install(recipe: Recipe, say: (line: string) => void): boolean;
