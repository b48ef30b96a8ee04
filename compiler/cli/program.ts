// The command line: names, options, help. In: arguments. Out: an exit code. Commands are imported when they are called, so
// that help comes at once.
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { GROUP, namedTargets, STORAGES, targets } from "../core/index.ts";
import { completion, SHELLS, type Shell } from "./completion.ts";
import { EXIT, explain } from "./failure.ts";
import { collect, parseBind, parseSet, parseSize } from "./models.ts";
import { harmless, painterFor, styleFor, wantsColor } from "./style.ts";
import { parseMap } from "./train/map.ts";
import { version } from "./version.ts";

const STAGES = ["ast", "graph", "fused", "kernels", "wgsl", "plan"];

function positive(text: string): number {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 1) throw new InvalidArgumentError("expected an integer of at least 1.");
  return n;
}

function notNegative(text: string): number {
  const n = Number(text);
  if (text.trim() === "" || !Number.isFinite(n) || n < 0)
    throw new InvalidArgumentError("expected a number of at least 0.");
  return n;
}

function notNegativeInt(text: string): number {
  const n = notNegative(text);
  if (!Number.isSafeInteger(n)) throw new InvalidArgumentError("expected an integer of at least 0.");
  return n;
}

function probability(text: string): number {
  const n = notNegative(text);
  if (n <= 0 || n > 1) throw new InvalidArgumentError("expected a number above 0, of at most 1.");
  return n;
}

/** `0.485,0.456,0.406` */
function parseNumbers(text: string): number[] {
  const numbers = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (!numbers.every(Number.isFinite))
    throw new InvalidArgumentError("expected numbers, as in 0.5 or 0.485,0.456,0.406.");
  return numbers;
}

/** `30s`, `5m`, or seconds. */
function parseTime(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(s|m|min)?$/.exec(text) ?? [];
  const seconds = Number(number) * (unit === undefined || unit === "s" ? 1 : 60);
  if (!(seconds > 0)) throw new InvalidArgumentError("expected a time, such as 30s or 5m.");
  return seconds;
}

const examples = (...lines: string[]): string =>
  `\nExamples:\n${lines.map((line) => `  ${line}`).join("\n")}\n`;

/** Runs `mdl` with these arguments; what goes wrong is said on standard error. */
export async function execute(args: readonly string[]): Promise<number> {
  let code: number = EXIT.done;
  const program = makeProgram((own) => {
    code = own;
  });
  for (const command of [program, ...program.commands]) command.exitOverride();
  try {
    await program.parseAsync(args, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    const told = explain(error, painterFor(process.stderr), program.args[0] ?? "mdl");
    process.stderr.write(`${told.text}\n`);
    return told.code;
  }
}

/** `finish` takes the exit code of a command that does not always end with 0. */
function makeProgram(finish: (code: number) => void): Command {
  const style = styleFor(process.stdout);
  const program = new Command("mdl")
    .description(
      "Compiles models to WebGPU kernels: an ES module that runs and trains anywhere there is WebGPU.",
    )
    .version(version(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help for a command")
    .configureOutput({
      getOutHasColors: () => wantsColor(process.stdout),
      getErrHasColors: () => wantsColor(process.stderr),
      outputError: (text, write) => write(harmless(text)),
    })
    .configureHelp({
      styleTitle: style.bold,
      styleCommandText: style.cyan,
      styleSubcommandTerm: style.cyan,
      styleOptionTerm: style.cyan,
      styleArgumentTerm: style.cyan,
    })
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      `${examples("mdl compile convnet.mdl -o build", "mdl run convnet.mdl predict --weights convnet.safetensors --input x=digit.npy --top 3", "mdl doctor")}
Exit codes: 0 done, 1 the input is at fault, 2 the command line, 3 the machine, 70 a bug in mdl`,
    );
  // Options that several commands have: an Option is one command's own.
  const target = (of = targets): Option =>
    new Option("--target <T>", `kernels for this kind of adapter (${of.map((t) => t.name).join(", ")})`);
  const weights = (): Option => new Option("--weights <F>", "parameters: a safetensors file");
  const size = (what: string, otherwise = 1): Option =>
    new Option("--size <N=32>", `${what} (default: ${otherwise}); may be repeated`).argParser(parseSize);
  const model = (what = "this model of the source"): Option => new Option("--model <M>", what);
  const watch = (): Option =>
    new Option(
      "--watch <NAME>",
      "a value by its name, such as blocks.2.attn.scores or '*.scores': its range, mean, deviation, histogram and NaNs; may be repeated",
    ).argParser(collect);
  const device = (): Option =>
    new Option("--device <D>", "cpu is the reference evaluator: exact, slow, and without a GPU")
      .choices(["auto", "gpu", "cpu"])
      .default("auto");
  const adapter = (): Option =>
    new Option(
      "--device <D>",
      "auto: what WebGPU gives first; gpu: a real one; cpu: a software adapter, such as Mesa's lavapipe",
    )
      .choices(["auto", "gpu", "cpu"])
      .default("auto");
  const set = (): Option =>
    new Option("--set <k=v>", "an argument of the model; may be repeated").argParser(parseSet);
  const entries = (): Option =>
    new Option("--entry <E>", "only this entry, or training step NAME_step; may be repeated").argParser(
      collect,
    );
  const input = (): Option =>
    new Option("--input <name=FILE>", "an input, as mdl run takes it; may be repeated").argParser(collect);
  const seed = (): Option =>
    new Option("--seed <S>", "for parameters that are not given, and random operators");
  const json = (): Option => new Option("--json", "as JSON, for tools");
  const freeze = (): Option =>
    new Option("--freeze <P>", "train none of these parameters, as in 'trunk.*'; may be repeated").argParser(
      collect,
    );
  const data = (): Option =>
    new Option(
      "--data <KIND:PATH>",
      "mnist:DIR, cifar10:DIR, cifar100:DIR, images:DIR (a folder a class), csv:FILE, npz:FILE, npy:x=FILE,y=FILE, text:FILE, bytes:FILE, lines:FILE; ?name=value sets an option, as in csv:iris.csv?label=Species",
    );
  const val = (what: string): Option => new Option("--val <SHARE|KIND:PATH>", what);
  const map = (): Option =>
    new Option(
      "--map <x=image,…>",
      "inputs with the columns they take, where names and types do not say; z=normal() draws noise",
    ).argParser(parseMap);
  const normalize = (): Option =>
    new Option("--normalize <M:S>", "of pictures: take M off and divide by S, by channel (0.1307:0.3081)");
  const storage = (): Option =>
    new Option(
      "--storage <S>",
      "large weights in fewer bits, decoded where kernels load them: what mdl quantize writes",
    ).choices(STORAGES);
  const group = (of: string): Option =>
    new Option(
      "--group <G>",
      `${of}: how many numbers share a scale, a multiple of 8 (default: ${GROUP})`,
    ).argParser(positive);

  program
    .command("compile")
    .summary("write a module, its types and its weights")
    .description(
      "Compiles a model: writes DIR/NAME.js and DIR/NAME.d.ts, and with weights DIR/NAME.safetensors.",
    )
    .argument("<model.mdl>", "the source")
    .option("-o, --out <DIR>", "where to write", ".")
    .addOption(model("this model of the file (default: each of them)"))
    .addOption(set())
    .addOption(entries())
    .option("--bind <N=8>", "fix a size: kernels for this one only; may be repeated", parseBind)
    .addOption(freeze())
    .addOption(target(namedTargets).argParser(collect).default(undefined, "all of them"))
    .addOption(
      new Option(
        "--precision <P>",
        "on adapters with f16, store weights (f16-weights), or weights and activations (f16; also of training steps, with a loss scale), in half the bytes; others compute as ever",
      )
        .choices(["f32", "f16-weights", "f16"])
        .default("f32"),
    )
    .addOption(storage())
    .addOption(group("of int4"))
    .option(
      "--tuning <F>",
      "a table of mdl tune: kernels that were the fastest on its adapter, beside the others; may be repeated",
      collect,
    )
    .option("--weights <F>", "a safetensors file: checked against the model and written beside the module")
    .addOption(
      new Option("--runtime <how>", "put the runtime into the module, or import mdlc/runtime")
        .choices(["inline", "import"])
        .default("inline"),
    )
    .addOption(
      new Option("--host <where>", "where the module will run: a page needs nothing of Node")
        .choices(["any", "page"])
        .default("any"),
    )
    .option("--minify", "as few bytes as it takes, for a bundle: kernels are not for reading then")
    .option(
      "--debug",
      "a module whose calls show what print is handed, and fail where an assert does not hold",
    )
    .option("--force", "replace files of the same names that mdl did not write")
    .option("--watch", "compile again whenever the source or a file it imports changes, until Ctrl-C")
    .addOption(new Option("--emit <stage>", "print a stage instead of writing files").choices(STAGES))
    .addHelpText(
      "after",
      examples(
        "mdl compile convnet.mdl -o build",
        "mdl compile convnet.mdl --model ConvNet --set classes=5 --entry predict -o build",
        "mdl compile resnet20.mdl --weights resnet20.safetensors -o build",
        "mdl compile convnet.mdl --entry logits --emit plan --target baseline",
        "mdl compile transformer.mdl --weights gpt.int4.safetensors -o build",
        "mdl compile convnet.mdl -o build --watch",
      ),
    )
    .action(async (file, flags) => {
      const { compileCommand } = await import("./commands/compile.ts");
      await compileCommand(file, flags);
    });

  program
    .command("train")
    .summary("train a model on data")
    .description(
      "Runs a train block over data, epoch by epoch, on this machine's GPU; measures what is held out; writes weights, checkpoints, a log. Ctrl-C writes a checkpoint.",
    )
    .argument("<model.mdl>", "the source")
    .argument(
      "[NAME]",
      "the train block (default: the only one); several take turns: discriminator,generator",
    )
    .addOption(data())
    .addOption(
      val("what is held out: a share of the data, other data, or none (default: the data's own test part)"),
    )
    .addOption(map())
    .option("--epochs <E>", "passes over the data (default: 10)", positive)
    .option("--steps <S>", "at most so many steps", positive)
    .option("--batch <B>", "records of a step (default: the block's, else 32)", positive)
    .option("--lr <R>", "the largest learning rate; the schedule keeps its shape", notNegative)
    .option(
      "--schedule <S>",
      "a schedule in place of the block's: one_cycle, cosine, or a call: one_cycle(3e-3, pct = 0.2)",
    )
    .option("--seed <S>", "of parameters, order, augmentation, dropout (default: 0)")
    .option(
      "--augment <LIST>",
      "crop:4, flip, rotate:15, shift:0.1, scale:0.9:1.1, jitter:0.2, erase, mixup:0.2, cutmix:1; as in crop:4,flip",
    )
    .addOption(normalize())
    .option("--drop-last", "leave a last batch out that is not full")
    .option(
      "--workers <N>",
      "threads that read and augment ahead of the GPU (default: 1 where pictures are decoded or augmented)",
      notNegative,
    )
    .option("--save <F>", "write the weights, a safetensors file")
    .addOption(
      new Option("--keep <which>", "which weights --save writes (default: last)").choices(["last", "best"]),
    )
    .option("--patience <P>", "end after so many epochs that were no better", positive)
    .option(
      "--plateau <P>",
      "epochs no better that are a plateau, where the schedule follows them (default: 10)",
      positive,
    )
    .option("--init <F>", "begin with what fits of a safetensors file; the rest as declared")
    .addOption(freeze())
    .option("--checkpoint <F>", "write a checkpoint after each epoch")
    .option("--resume <F>", "go on from a checkpoint")
    .option("--log <F>", "write an object a line: events step, epoch and end")
    .option("--tensorboard <DIR>", "write what TensorBoard reads")
    .option("--plot <F>", "write the curves, an SVG")
    .option("--lr-find", "plot the loss against the learning rate, and train nothing")
    .addOption(
      new Option(
        "--precision <P>",
        "f16: store what products read and give in half precision, with a loss scale (default: f32)",
      ).choices(["f32", "f16"]),
    )
    .addOption(adapter())
    .addOption(target(namedTargets))
    .addOption(model())
    .addOption(set())
    .addHelpText(
      "after",
      examples(
        "mdl train convnet.mdl --data mnist:mnist --epochs 3 --save convnet.safetensors",
        "mdl train convnet.mdl --data mnist:mnist --augment crop:2,rotate:10 --schedule one_cycle --lr 3e-3 --checkpoint convnet.ckpt",
        "mdl train convnet.mdl --resume convnet.ckpt",
        "mdl train mlp.mdl --set inputs=4 --set classes=3 --data 'csv:iris.csv?label=Species&drop=Id' --val 0.2",
        "mdl train convnet.mdl --data mnist:mnist --lr-find",
      ),
    )
    .action(async (file, name, flags) => {
      const { trainCommand } = await import("./commands/train.ts");
      finish((await trainCommand(file, name, flags)) ?? 0);
    });

  program
    .command("eval")
    .summary("measure weights on data")
    .description(
      "Averages every fn that gives one float (loss, accuracy) over data: what is held out of it, where something is.",
    )
    .argument("<model.mdl>", "the source")
    .addOption(weights().makeOptionMandatory())
    .addOption(data().makeOptionMandatory())
    .addOption(
      val("what to measure on: a share of the data as mdl train held it out, other data, or none of it: all"),
    )
    .addOption(map())
    .option("--batch <B>", "records of a call", positive, 100)
    .option("--seed <S>", "of the share that was held out", "0")
    .addOption(normalize())
    .option("--entry <E>", "only this fn; may be repeated", collect)
    .option("--confusion", "a table of what each class was taken for")
    .option("--json", "one object of metrics by name, for tools")
    .addOption(adapter())
    .addOption(target())
    .addOption(model())
    .addOption(set())
    .addHelpText(
      "after",
      examples(
        "mdl eval convnet.mdl --weights convnet.safetensors --data mnist:mnist --confusion",
        "mdl eval convnet.mdl --weights convnet.safetensors --data mnist:mnist --json",
      ),
    )
    .action(async (file, flags) => {
      const { evalCommand } = await import("./commands/eval.ts");
      finish((await evalCommand(file, flags)) ?? 0);
    });

  program
    .command("quantize")
    .summary("weights in 16, 8 or 4 bits")
    .description(
      "Writes weights in fewer bits for a model: large ones as words that kernels decode where they load them. Says how far each is from what it was, and the results of an entry.",
    )
    .argument("<model.mdl>", "the source")
    .argument("[ENTRY]", "the entry whose results are compared (default: the first)")
    .addOption(weights().makeOptionMandatory())
    .addOption(
      new Option("--bits <B>", "16: halves; 8: a scale for each channel; 4: one for each group")
        .choices(["16", "8", "4"])
        .default("8"),
    )
    .addOption(group("of 4 bits"))
    .option("-o, --out <FILE>", "where to write (default: beside the weights, as NAME.int8.safetensors)")
    .addOption(input())
    .addOption(size("a size of the inputs that are drawn at random, where none are given"))
    .addOption(device())
    .option("--force", "replace a file of the same name that mdl did not write")
    .addOption(json())
    .addOption(model())
    .addOption(set())
    .addHelpText(
      "after",
      examples(
        "mdl quantize convnet.mdl --weights convnet.safetensors",
        "mdl quantize transformer.mdl --model GPT --weights gpt.safetensors --bits 4 --group 64 -o gpt.int4.safetensors",
        "mdl quantize convnet.mdl logits --weights convnet.safetensors --input x=digits.npy",
        "mdl run convnet.mdl predict --weights convnet.int8.safetensors --input x=digit.npy",
      ),
    )
    .action(async (file, entry, flags) => {
      const { quantizeCommand } = await import("./commands/quantize.ts");
      finish((await quantizeCommand(file, entry, flags)) ?? 0);
    });

  program
    .command("run")
    .summary("call an entry of a model")
    .description(
      "Runs an entry of a source, or of a module that mdl compile wrote, and prints or writes its results.",
    )
    .argument("<model.mdl|module.js>", "the source, or a compiled module")
    .argument("[ENTRY]", "what to call; without it, the entries are listed")
    .addOption(weights())
    .option(
      "--input <name=FILE>",
      "an input: .npy, .npz:NAME, .json, .csv, .png, .jpg, .bin (raw little-endian), - for standard input, or a number; may be repeated",
      collect,
    )
    .addOption(
      new Option(
        "--resize [how]",
        "scale pictures to the declared size, or cover it and take the middle",
      ).choices(["stretch", "crop"]),
    )
    .option(
      "--mean <R,G,B>",
      "of pictures, which are 0 to 1: take this off, channel by channel",
      parseNumbers,
    )
    .option("--std <R,G,B>", "of pictures: then divide by this", parseNumbers)
    .addOption(data())
    .option("--records <R>", "of --data: one, or some as in 0:16 (default: the first)")
    .addOption(map())
    .addOption(seed())
    .option(
      "--output <[NAME=]FILE>",
      "write results, or one of them: .npy, .npz, .json, .csv, .png, .bin, or - for JSON on standard output; may be repeated",
      collect,
    )
    .option("--grid <C>", "the pictures of a result in one .png, C in a row", positive)
    .addOption(device())
    .addOption(target())
    .addOption(watch())
    .option("--top <K>", "of each row, the K classes with the largest values", positive)
    .addOption(model())
    .addOption(set())
    .addHelpText(
      "after",
      examples(
        "mdl run convnet.mdl predict --weights convnet.safetensors --input x=digit.npy --top 3",
        "mdl run build/convnet.js logits --input x=digits.npy --output scores.npy",
        "mdl run resnet18.mdl predict --input x=cat.jpg --resize crop --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
        "mdl run convnet.mdl predict --weights convnet.safetensors --data mnist:mnist --records 0:4 --top 3",
        "mdl run gpt.mdl next --input id=[17] --input at=3",
        "cat digit.json | mdl run convnet.mdl predict --input x=- --output - --device cpu",
      ),
    )
    .action(async (file, entry, flags) => {
      const { runCommand } = await import("./commands/run.ts");
      finish((await runCommand(file, entry, flags)) ?? 0);
    });

  program
    .command("generate")
    .summary("text from a model, token by token")
    .description(
      "Streams text from a character or byte-pair model, on this machine's GPU. The model needs an entry that scores the next token, such as next(id: i32[1], at: i32) -> f32[1, vocab], with what came before in buffers.",
    )
    .argument("<model.mdl|module.js>", "the source, or a compiled module")
    .requiredOption("--prompt <TEXT>", "what the text begins with")
    .addOption(weights())
    .option(
      "--tokenizer <F>",
      "a tokenizer.json of Hugging Face (byte-level BPE), a JSON list of characters, or a text: its characters, sorted",
    )
    .option("--tokens <N>", "at most so many new ones", positive, 200)
    .option("--temperature <T>", "below 1 the likely are likelier; 0 takes the likeliest", notNegative, 1)
    .option("--top-k <K>", "draw among the K likeliest", positive)
    .option("--top-p <P>", "draw among the likeliest that have this probability together", probability)
    .option("--seed <S>", "the same seed gives the same text")
    .option("--entry <E>", "the entry that scores the next token (default: the one that can)")
    .addOption(target())
    .addOption(model())
    .addOption(set())
    .addHelpText(
      "after",
      examples(
        'mdl generate transformer.mdl --model GPT --weights gpt.safetensors --tokenizer shakespeare.txt --prompt "ROMEO:"',
        'mdl generate build/gpt2.js --weights gpt2.safetensors --tokenizer tokenizer.json --prompt "Once" --top-p 0.9',
      ),
    )
    .action(async (file, flags) => {
      const { generateCommand } = await import("./commands/generate.ts");
      finish((await generateCommand(file, flags)) ?? 0);
    });

  program
    .command("summary")
    .summary("a model's layers: shapes, parameters, arithmetic, memory")
    .description(
      "Prints a table of a model's layers: what comes out of each, its parameters, multiply-adds of a call, and what memory it takes. Runs nothing.",
    )
    .argument("<model.mdl>", "the source")
    .argument("[ENTRY]", "an entry, or a training step NAME_step (default: the first entry)")
    .addOption(size("a size of the inputs"))
    .option("--depth <D>", "layers within layers, so deep", positive)
    .addOption(storage())
    .addOption(group("of int4"))
    .addOption(json())
    .addOption(model())
    .addOption(set())
    .addHelpText(
      "after",
      examples(
        "mdl summary resnet18.mdl logits --size N=32",
        "mdl summary resnet18.mdl --depth 1",
        "mdl summary convnet.mdl fit_step --size N=32 --json",
      ),
    )
    .action(async (file, entry, flags) => {
      const { summaryCommand } = await import("./commands/summary.ts");
      summaryCommand(file, entry, flags);
    });

  program
    .command("profile")
    .summary("time a call kernel by kernel")
    .description(
      "Times each kernel of an entry or training step on this machine's GPU, against what the GPU can do at most. Inputs that are not given are drawn at random.",
    )
    .argument("<model.mdl|module.js>", "the source, or a compiled module")
    .argument("[ENTRY]", "what to call, or train for the training step; without it, the entries are listed")
    .addOption(size("a size of the inputs that are drawn"))
    .addOption(input())
    .addOption(weights())
    .option("--runs <R>", "medians over as many runs", positive, 10)
    .option("--top <K>", "rows of the table, the slowest first", positive, 20)
    .option("--trace <FILE>", "write a trace for chrome://tracing or ui.perfetto.dev")
    .option("--json <FILE>", "write all figures")
    .addOption(target())
    .addOption(model())
    .addOption(set())
    .addHelpText(
      "after",
      examples(
        "mdl profile resnet18.mdl logits --size N=8",
        "mdl profile convnet.mdl train --size N=32 --trace step.json",
        "mdl profile build/convnet.js predict --input x=digits.npy --top 50",
      ),
    )
    .action(async (file, entry, flags) => {
      const { profileCommand } = await import("./commands/profile.ts");
      finish((await profileCommand(file, entry, flags)) ?? 0);
    });

  program
    .command("debug")
    .summary("look into a call: every value, forward and gradient")
    .description(
      "Calls an entry or makes a training step once, in a debug build, and shows what is in it: each named value by source line with its range, mean, deviation, histogram and NaNs, the gradients below; what print was handed; asserts that do not hold; and where NaN or infinity first came from. Nothing is trained.",
    )
    .argument("<model.mdl>", "the source")
    .argument("[ENTRY]", "what to call, or train for the training step; without it, the entries are listed")
    .addOption(watch())
    .addOption(size("a size of the inputs that are drawn", 2))
    .addOption(input())
    .addOption(weights())
    .addOption(seed())
    .option("--step <N>", "of a training step: its number, which schedules and draws go by", notNegativeInt)
    .option("--lr <LR>", "of a training step: the learning rate, in place of its schedule's", notNegative)
    .option("--total-steps <N>", "what schedules are told (default: 1000)", positive)
    .option("--replay <F>", "a step that a program kept: v8.serialize({ snapshot, batch })")
    .addOption(device())
    .addOption(target())
    .addOption(json())
    .addOption(model())
    .addOption(set())
    .addHelpText(
      "after",
      examples(
        "mdl debug convnet.mdl predict --weights convnet.safetensors --input x=digit.npy",
        "mdl debug convnet.mdl train --size N=32",
        "mdl debug transformer.mdl train --watch 'blocks.2.*' --watch loss",
        "mdl debug convnet.mdl train --replay bad.step",
      ),
    )
    .action(async (file, entry, flags) => {
      const { debugCommand } = await import("./commands/debug.ts");
      finish(await debugCommand(file, entry, flags));
    });

  program
    .command("gradcheck")
    .summary("compare gradients: GPU, reference, finite differences")
    .description(
      "Compares every gradient of a training step's loss, or of an entry, on this machine's GPU with the reference evaluator's in double precision, and these with finite differences at some elements. Where they differ it names the first line that does, and ends with 1.",
    )
    .argument("<model.mdl>", "the source")
    .argument("[ENTRY]", "an entry, or train for the training step (default: the only training step)")
    .addOption(size("a size of the inputs that are drawn", 2))
    .addOption(input())
    .addOption(weights())
    .addOption(seed())
    .option(
      "--samples <N>",
      "elements of each gradient that are compared with finite differences",
      positive,
      5,
    )
    .option(
      "--tolerance <X>",
      "of the GPU, as a part of a gradient's largest element (default: 2e-3; f16: 5e-2)",
      notNegative,
    )
    .addOption(device())
    .addOption(target())
    .addOption(json())
    .addOption(model())
    .addOption(set())
    .addHelpText(
      "after",
      examples(
        "mdl gradcheck convnet.mdl",
        "mdl gradcheck convnet.mdl logits --device cpu --samples 20",
        "mdl gradcheck transformer.mdl train --size N=1 --size T=8 --json",
      ),
    )
    .action(async (file, entry, flags) => {
      const { gradcheckCommand } = await import("./commands/gradcheck.ts");
      finish(await gradcheckCommand(file, entry, flags));
    });

  program
    .command("tune")
    .summary("find the fastest kernels for this machine's GPU")
    .description(
      "Measures the ways in which the model's kernels can be computed on this machine's GPU, and writes a table of the best for mdl compile --tuning.",
    )
    .argument("<model.mdl>", "the source")
    .option("--budget <TIME>", "how long it may take: 30s, 5m", parseTime, 30)
    .option("-o, --out <FILE>", "where to write the table", "tuning.json")
    .addOption(entries())
    .addOption(size("a size of the inputs that are drawn"))
    .addOption(target())
    .addOption(model())
    .addOption(set())
    .addHelpText(
      "after",
      examples(
        "mdl tune resnet18.mdl --entry logits --size N=8 --budget 2m -o table.json",
        "mdl compile resnet18.mdl --tuning table.json -o build",
      ),
    )
    .action(async (file, flags) => {
      const { tuneCommand } = await import("./commands/tune.ts");
      finish((await tuneCommand(file, flags)) ?? 0);
    });

  program
    .command("check")
    .summary("report what is wrong with sources")
    .description("Checks sources and prints everything there is to say about them.")
    .argument("<FILE...>", "sources")
    .addOption(model("this model of the source (default: each of them)"))
    .addOption(set())
    .addOption(json())
    .addHelpText(
      "after",
      examples(
        "mdl check models/*.mdl",
        "mdl check convnet.mdl --set classes=5",
        "mdl check convnet.mdl --json",
      ),
    )
    .action(async (files, flags) => {
      const { checkCommand } = await import("./commands/check.ts");
      finish(checkCommand(files, flags));
    });

  program
    .command("fmt")
    .summary("lay sources out")
    .description(
      "Lays sources out as the language's own are: comments stay, and so does what they mean. Without a FILE, all .mdl files below this folder.",
    )
    .argument("[FILE...]", "sources, or folders with sources")
    .option(
      "--check",
      "write nothing; name the files that are not laid out, and end with 1 where there are some",
    )
    .option("--stdin", "from standard input to standard output; FILE is its name in messages")
    .addHelpText("after", examples("mdl fmt", "mdl fmt models/*.mdl --check", "mdl fmt --stdin < net.mdl"))
    .action(async (files, flags) => {
      const { fmtCommand } = await import("./commands/fmt.ts");
      finish(await fmtCommand(files, flags));
    });

  program
    .command("doctor")
    .summary("say what this machine has for mdl")
    .description(
      "Prints Node, adapters and their limits, the target that fits, and what is missing; tries a small model.",
    )
    .addHelpText("after", examples("mdl doctor"))
    .action(async () => {
      const { doctorCommand } = await import("./commands/doctor.ts");
      finish(await doctorCommand());
    });

  program
    .command("ops")
    .summary("list the operators and the standard library")
    .description(
      "Lists what a program can use: operators, layers and fns of the standard library, initialisers, optimisers, schedules. With a name, says all about it.",
    )
    .addArgument(new Argument("[NAME]", "one of them"))
    .addHelpText("after", examples("mdl ops", "mdl ops conv2d", "mdl ops BatchNorm2d", "mdl ops adamw"))
    .action(async (name) => {
      const { opsCommand } = await import("./commands/ops.ts");
      opsCommand(name);
    });

  program
    .command("doc")
    .summary("print what doc comments say")
    .description(
      "Prints the documentation of the standard library, of one of its modules or names, or of a source: what stands in /// comments.",
    )
    .argument("[std/nn|FILE|NAME]", "a module, a source, or a name of the library (default: a list)")
    .argument("[NAME]", "a declaration of the module or source")
    .option("--markdown", "for a page")
    .addHelpText(
      "after",
      examples("mdl doc", "mdl doc LSTM", "mdl doc std/loss", "mdl doc net.mdl --markdown"),
    )
    .action(async (where, name, flags) => {
      const { docCommand } = await import("./commands/doc.ts");
      docCommand(where, name, flags);
    });

  program
    .command("completion")
    .summary("print a script that completes mdl in a shell")
    .description("Prints a script for your shell, which then completes commands, options and their values.")
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .addHelpText(
      "after",
      examples(
        "mdl completion bash >> ~/.bashrc",
        "source <(mdl completion zsh)",
        "mdl completion fish > ~/.config/fish/completions/mdl.fish",
      ),
    )
    .action((shell: Shell) => void process.stdout.write(completion(program, shell)));
  return program;
}
