/** Doc comments of the format sources: the introduction of a page and the remarks on its fields. */
import ts from 'typescript'

export interface DocComments {
  /** The comment that opens the file. */
  readonly introduction: string
  /** Comments on exported constants, by name. */
  readonly constants: ReadonlyMap<string, string>
  /** Comments on fields and cases, by `<name of the record or choice>.<name of the field or case>`. */
  readonly fields: ReadonlyMap<string, string>
}

/** The text of a doc comment: no stars, links as code, paragraphs kept. */
function textOf(comment: string): string {
  const lines = comment
    .slice('/**'.length, -'*/'.length)
    .split('\n')
    .map((line) => line.trim().replace(/^\* ?/, '').trim())
  return lines
    .join('\n')
    .trim()
    .replace(/\{@link (\S+?)(?:\.finish)?\}/g, '`$1`')
}

function docCommentsBefore(source: ts.SourceFile, position: number): string[] {
  const text = source.getFullText()
  return (ts.getLeadingCommentRanges(text, position) ?? [])
    .map(({ pos, end }) => text.slice(pos, end))
    .filter((comment) => comment.startsWith('/**'))
    .map(textOf)
}

/** Reads `source`, the text of a file of packages/format. @throws Error if no doc comment opens it. */
export function docCommentsOf(name: string, source: string): DocComments {
  const file = ts.createSourceFile(`${name}.ts`, source, ts.ScriptTarget.Latest, true)
  const introduction = docCommentsBefore(file, 0)[0]
  if (introduction === undefined) throw new Error(`${name}.ts does not open with a doc comment`)
  const constants = new Map<string, string>()
  const fields = new Map<string, string>()
  const visit = (node: ts.Node): void => {
    if (ts.isVariableStatement(node)) {
      const comment = docCommentsBefore(file, node.pos).at(-1)
      const declared = node.declarationList.declarations[0]
      if (comment !== undefined && declared !== undefined) constants.set(declared.name.getText(), comment)
    }
    if (ts.isCallExpression(node)) {
      const [first, ...objects] = node.arguments
      if (first !== undefined && ts.isStringLiteral(first)) {
        for (const property of objects
          .filter(ts.isObjectLiteralExpression)
          .flatMap((object) => [...object.properties])) {
          const comment = docCommentsBefore(file, property.pos).at(-1)
          if (comment !== undefined && property.name !== undefined) {
            fields.set(`${first.text}.${property.name.getText()}`, comment)
          }
        }
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return { introduction, constants, fields }
}
