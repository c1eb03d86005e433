/**
 * Records of a zip of stored entries (APPNOTE.TXT 4.3), always with 64-bit sizes, as NumPy writes its .npz: one form for
 * files of any size.
 */
export interface StoredEntry {
  readonly name: string
  readonly size: number
  readonly crc: number
  /** Of its local header in the file. */
  readonly offset: number
}

const version = 45 // the first with 64-bit sizes
const date = 0x21 // 1980-01-01: the same arrays give the same bytes
const inExtra = 0xffffffff // "see the 64-bit field"

export function localHeader({ name, size, crc }: Omit<StoredEntry, 'offset'>): Uint8Array {
  const nameBytes = Buffer.from(name)
  const record = Buffer.alloc(30 + nameBytes.length + 20)
  record.writeUInt32LE(0x04034b50, 0)
  record.writeUInt16LE(version, 4)
  record.writeUInt16LE(date, 12)
  record.writeUInt32LE(crc, 14)
  record.writeUInt32LE(inExtra, 18)
  record.writeUInt32LE(inExtra, 22)
  record.writeUInt16LE(nameBytes.length, 26)
  record.writeUInt16LE(20, 28)
  record.set(nameBytes, 30)
  const extra = 30 + nameBytes.length
  record.writeUInt16LE(1, extra)
  record.writeUInt16LE(16, extra + 2)
  record.writeBigUInt64LE(BigInt(size), extra + 4)
  record.writeBigUInt64LE(BigInt(size), extra + 12)
  return record
}

/** Everything after the last entry; `start` is where it will stand in the file. */
export function centralDirectory(entries: readonly StoredEntry[], start: number): Uint8Array {
  const records = entries.map(centralRecord)
  const size = records.reduce((sum, record) => sum + record.length, 0)
  const end = Buffer.alloc(56 + 20 + 22)
  end.writeUInt32LE(0x06064b50, 0) // the 64-bit end record
  end.writeBigUInt64LE(44n, 4)
  end.writeUInt16LE(version, 12)
  end.writeUInt16LE(version, 14)
  end.writeBigUInt64LE(BigInt(entries.length), 24)
  end.writeBigUInt64LE(BigInt(entries.length), 32)
  end.writeBigUInt64LE(BigInt(size), 40)
  end.writeBigUInt64LE(BigInt(start), 48)
  end.writeUInt32LE(0x07064b50, 56) // where it is
  end.writeBigUInt64LE(BigInt(start + size), 64)
  end.writeUInt32LE(1, 72)
  end.writeUInt32LE(0x06054b50, 76) // the old end record
  end.writeUInt16LE(0xffff, 84)
  end.writeUInt16LE(0xffff, 86)
  end.writeUInt32LE(inExtra, 88)
  end.writeUInt32LE(inExtra, 92)
  return Buffer.concat([...records, end])
}

function centralRecord({ name, size, crc, offset }: StoredEntry): Buffer {
  const nameBytes = Buffer.from(name)
  const record = Buffer.alloc(46 + nameBytes.length + 28)
  record.writeUInt32LE(0x02014b50, 0)
  record.writeUInt16LE(version, 4)
  record.writeUInt16LE(version, 6)
  record.writeUInt16LE(date, 14)
  record.writeUInt32LE(crc, 16)
  record.writeUInt32LE(inExtra, 20)
  record.writeUInt32LE(inExtra, 24)
  record.writeUInt16LE(nameBytes.length, 28)
  record.writeUInt16LE(28, 30)
  record.writeUInt32LE(inExtra, 42)
  record.set(nameBytes, 46)
  const extra = 46 + nameBytes.length
  record.writeUInt16LE(1, extra)
  record.writeUInt16LE(24, extra + 2)
  record.writeBigUInt64LE(BigInt(size), extra + 4)
  record.writeBigUInt64LE(BigInt(size), extra + 12)
  record.writeBigUInt64LE(BigInt(offset), extra + 20)
  return record
}
