// Shell completion: scripts for bash, zsh and fish, from the command line as it is declared. In: commander's tree. Out: a script
// that holds all commands, options and their choices, so that a key press starts no process (which is what the packages for this
// do). Values that are not choices are files.
import type { Command, Option } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

interface Completed {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly Option[];
  /** What its first argument may be, where that is a choice. */
  readonly choices: readonly string[];
}

export function completion(program: Command, shell: Shell): string {
  const help = program.createHelp();
  const commands = help.visibleCommands(program).map(
    (c): Completed => ({
      name: c.name(),
      summary: c.summary() || c.description(),
      options: help.visibleOptions(c),
      choices:
        c.name() === "help"
          ? help.visibleCommands(program).map((d) => d.name())
          : [...(c.registeredArguments[0]?.argChoices ?? [])],
    }),
  );
  const own: Completed = { name: "", summary: "", options: help.visibleOptions(program), choices: [] };
  return { bash, zsh, fish }[shell](commands, own);
}

const flagsOf = (o: Option): string[] => [o.short, o.long].filter((f) => f !== undefined);
const takesValue = (o: Option): boolean => o.required || o.optional;

function bash(commands: readonly Completed[], own: Completed): string {
  const flags = (c: Completed): string => c.options.flatMap(flagsOf).join(" ");
  const values = commands.flatMap((c) =>
    c.options
      .filter((o) => o.argChoices)
      .flatMap((o) => flagsOf(o).map((f) => `    "${c.name} ${f}") words="${o.argChoices?.join(" ")}" ;;`)),
  );
  return `# bash completion of mdl: put "source <(mdl completion bash)" into ~/.bashrc
_mdl() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" words=""
  # The shell takes --precision=f16 for three words.
  if [ "$cur" = "=" ]; then cur=""
  elif [ "$prev" = "=" ]; then prev="\${COMP_WORDS[COMP_CWORD-2]}"; fi
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${[...commands.map((c) => c.name), flags(own)].join(" ")}" -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]} $prev" in
${values.join("\n")}
  esac
  if [ -z "$words" ]; then
    case "\${COMP_WORDS[1]}:$cur" in
${commands.map((c) => `      ${c.name}:-*) words="${flags(c)}" ;;`).join("\n")}
${commands.flatMap((c) => (c.choices.length ? [`      ${c.name}:*) words="${c.choices.join(" ")}" ;;`] : [])).join("\n")}
    esac
  fi
  if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$cur")); return; fi
  local IFS=$'\\n'
  COMPREPLY=($(compgen -f -- "$cur"))
}
complete -o filenames -F _mdl mdl
`;
}

function zsh(commands: readonly Completed[], own: Completed): string {
  const text = (s: string): string => s.replace(/[\\'[\]:]/g, (c) => (c === "'" ? "'\\''" : `\\${c}`));
  const option = (o: Option): string[] =>
    flagsOf(o).map((f) => {
      const values = o.argChoices ? `(${o.argChoices.join(" ")})` : "_files";
      const value = takesValue(o) ? `${o.optional ? "::" : ":"}${o.attributeName()}:${values}` : "";
      // A value stands behind a long one with = or without.
      return `'*${f}${value !== "" && f.startsWith("--") ? "=" : ""}[${text(o.description)}]${value}'`;
    });
  const one = (c: Completed): string => {
    const rest = c.choices.length ? `'1:choice:(${c.choices.join(" ")})'` : "'*:file:_files'";
    return `    ${c.name}) _arguments ${[...c.options.flatMap(option), rest].join(" \\\n      ")} ;;`;
  };
  return `#compdef mdl
# zsh completion of mdl: put it into a folder of $fpath as _mdl, or "source <(mdl completion zsh)" into ~/.zshrc
_mdl() {
  local -a commands
  commands=(
${commands.map((c) => `    '${text(c.name)}:${text(c.summary)}'`).join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    _arguments ${own.options.flatMap(option).join(" ")}
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${commands.map(one).join("\n")}
  esac
}
if [ "$funcstack[1]" = "_mdl" ]; then _mdl "$@"; else compdef _mdl mdl; fi
`;
}

function fish(commands: readonly Completed[], own: Completed): string {
  const text = (s: string): string => `'${s.replace(/[\\']/g, "\\$&")}'`;
  const option = (o: Option): string => {
    const names = [o.short && `-s ${o.short.slice(1)}`, o.long && `-l ${o.long.slice(2)}`]
      .filter(Boolean)
      .join(" ");
    const values = o.argChoices ? ` -xa ${text(o.argChoices.join(" "))}` : o.required ? " -r" : "";
    return `${names}${values} -d ${text(o.description)}`;
  };
  const lines = [
    "# fish completion of mdl: mdl completion fish > ~/.config/fish/completions/mdl.fish",
    ...own.options.map((o) => `complete -c mdl -n __fish_use_subcommand ${option(o)}`),
    ...commands.flatMap((c) => [
      `complete -c mdl -f -n __fish_use_subcommand -a ${c.name} -d ${text(c.summary)}`,
      ...c.options.map((o) => `complete -c mdl -n '__fish_seen_subcommand_from ${c.name}' ${option(o)}`),
      ...(c.choices.length
        ? [`complete -c mdl -f -n '__fish_seen_subcommand_from ${c.name}' -a ${text(c.choices.join(" "))}`]
        : []),
    ]),
  ];
  return `${lines.join("\n")}\n`;
}
