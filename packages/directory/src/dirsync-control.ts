import { type BerReader, BerWriter, Control } from 'ldapts';

// LDAP_DIRSYNC_OBJECT_SECURITY: what the account may see, without the right to replicate.
const OBJECT_SECURITY = 1;
const OCTET_STRING = 0x04;

/** LDAP_SERVER_DIRSYNC (MS-ADTS 3.1.1.3.4.1.3): what changed since a cookie; none: since ever. */
export class DirSyncControl extends Control {
  static readonly oid = '1.2.840.113556.1.4.841';
  /** What the server answered; null: nothing. */
  answer: { isMore: boolean; cookie: Buffer } | null = null;
  readonly #cookie: Buffer;

  constructor(cookie: Buffer | null) {
    super(DirSyncControl.oid, { critical: true });
    this.#cookie = cookie ?? Buffer.alloc(0);
  }

  protected override writeControl(writer: BerWriter): void {
    const value = new BerWriter();
    value.startSequence();
    value.writeInt(OBJECT_SECURITY);
    // As many bytes in an answer as the server likes.
    value.writeInt(0x7fffffff);
    value.writeBuffer(this.#cookie, OCTET_STRING);
    value.endSequence();
    writer.writeBuffer(value.buffer, OCTET_STRING);
  }

  protected override parseControl(reader: BerReader): void {
    if (!reader.readSequence()) return;
    const isMore = (reader.readInt() ?? 0) !== 0;
    reader.readInt();
    const cookie = reader.readString(OCTET_STRING, true);
    if (cookie) this.answer = { isMore, cookie };
  }
}
