/**
 * The project's sources as modules: what each exports, what it imports, and its syntax tree. The parser is oxc's, as vitest's bundler
 * has it; docs/decisions/0035-checks-of-the-tree.md says why.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type ESTree, type ParseResult, parseSync, Visitor } from 'rolldown/utils';

/** What a module takes of another. */
export interface Import {
  /** Path of the module from the top folder; of what is not the project's, the words of the import. */
  readonly from: string;
  /** `*` stands for everything. */
  readonly names: readonly string[];
}

/** A name that a module offers; a type is nothing when the program runs. */
export interface Export {
  readonly name: string;
  readonly isType: boolean;
}

/** A file of the project; `path` from the top folder. */
export interface Module {
  readonly path: string;
  readonly text: string;
  readonly program: ESTree.Program;
  readonly imports: readonly Import[];
  readonly exports: readonly Export[];
}

/** All modules of a checkout, by path. */
export type Modules = ReadonlyMap<string, Module>;

const FOLDERS = ['src', 'store', 'tools', 'test'];
const SOURCE = /(?<!\.d)\.m?[jt]s$/;

/** The modules of the checkout at `root`; throws when one of them cannot be parsed. */
export function readModules(root: string): Modules {
  const inside = FOLDERS.filter((folder) => existsSync(join(root, folder))).flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  );
  const paths = [...readdirSync(root), ...inside].filter((path) => SOURCE.test(path)).toSorted();
  return new Map(paths.map((path) => [path, readModule(path, readFileSync(join(root, path), 'utf8'))]));
}

function readModule(path: string, text: string): Module {
  const parsed = parseSync(path, text);
  const { program, module, errors } = parsed;
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]!.message}`);
  return { path, text, program, imports: importsOf(path, text, parsed), exports: exportsOf(module, program) };
}

function exportsOf(module: ParseResult['module'], program: ESTree.Program): Export[] {
  const types = new Set(
    program.body.flatMap((node) => {
      const declared = node.type === 'ExportNamedDeclaration' ? node.declaration : null;
      return declared?.type === 'TSInterfaceDeclaration' || declared?.type === 'TSTypeAliasDeclaration'
        ? [declared.id.name]
        : [];
    }),
  );
  return module.staticExports.flatMap(({ entries }) =>
    entries.map(({ exportName }) => {
      const name = exportName.name ?? 'default';
      return { name, isType: types.has(name) };
    }),
  );
}

function importsOf(path: string, text: string, { program, module }: ParseResult): Import[] {
  const place = (request: string): string => (request.startsWith('.') ? join(dirname(path), request) : request);
  const early = module.staticImports.map(({ moduleRequest, entries }) => ({
    from: place(moduleRequest.value),
    names: entries.flatMap(({ importName, localName }) =>
      importName.kind === 'NamespaceObject' ? membersOf(text, localName.value) : [importName.name ?? 'default'],
    ),
  }));
  const passedOn = module.staticExports.flatMap(({ entries }) =>
    entries.flatMap(({ moduleRequest, importName }) =>
      moduleRequest === null ? [] : [{ from: place(moduleRequest.value), names: [importName.name ?? '*'] }],
    ),
  );
  const late = module.dynamicImports.flatMap(({ start, moduleRequest }) => {
    const request = /^['"`]([^$]*)['"`]$/.exec(text.slice(moduleRequest.start, moduleRequest.end))?.[1];
    if (request === undefined) return [];
    const taken = /\{([\w\s,:]*)\} = (?:await )?$/.exec(text.slice(Math.max(0, start - 200), start))?.[1];
    return [{ from: place(request), names: taken?.match(/\w+(?=\s*(?:[,:]|$))/g) ?? ['*'] }];
  });
  const types: Import[] = [];
  new Visitor({
    TSImportType: ({ source }) => {
      types.push({ from: place(source.value), names: ['*'] });
    },
  }).visit(program);
  return [...early, ...passedOn, ...late, ...types];
}

/** What is used of a module that is imported as `name`: `*` where the name stands for itself. */
function membersOf(text: string, name: string): string[] {
  const uses = text.matchAll(new RegExp(`(?<!\\* as |[\\w.])${name}\\b(?:\\.(\\w+))?`, 'g'));
  return [...uses].map((use) => use[1] ?? '*');
}

/** Line of an offset, from 1. */
export const lineAt = (text: string, offset: number): number => text.slice(0, offset).split('\n').length;
