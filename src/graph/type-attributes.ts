/** Attributes that hold an element type: a number of the protobuf enumeration in files, its name in the graph. */
const typeAttributes: Readonly<Record<string, string>> = { Cast: 'to', EyeLike: 'dtype' }

export const isTypeAttribute = (op: string, attribute: string): boolean => typeAttributes[op] === attribute
