/** The secret of the examples in RFC 2865 §7 and RFC 5997 §6. */
export const rfcSecret = Buffer.from('xyzzy5461');

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

/** Requests and replies as they stand in the RFCs. */
export const rfcPackets = {
  /** RFC 2865 §7.1: nemo, password "arctangent". */
  telnet: {
    request: hex(`01000038 0f403f9473978057bd83d5cb98f4227a 01066e656d6f
      02120dbe708d93d413ce3196e43f782a0aee 0406c0a80110 050600000003`),
    reply: hex(`02000026 86fe220e7624ba2a1005f6bf9b55e0b2 060600000001 0f0600000000 0e06c0a80103`),
  },
  /** RFC 2865 §7.2: flopsy, CHAP with the password "arctangent". */
  chap: {
    request: hex(`01010047 2aee86f08d0d55969ca5978e0d3367a2 0108666c6f707379
      031316e97557c316185895f293ff6344077275 0406c0a80110 050600000014 060600000002 070600000001`),
    reply: hex(`02010038 15efbc7dab26cfa3dc34d9c03c8601a4 060600000002 070600000001 0806fffffffe
      0a0600000002 0d0600000001 0c06000005dc`),
  },
  /** RFC 2865 §7.3: mopsy, password "challenge", and the question. */
  challenge: {
    request: hex(`01020039 f3a47a1f6a6d76710b947ab93041a039 01076d6f707379
      021233657573778289b570885e15084825c5 0406c0a80110 050600000007`),
    reply: hex(`0b02004e 36f3c8764ae8c71157403c0c71ff9c45
      12304368616c6c656e67652033323736393433302e2020456e74657220726573706f6e73652061742070726f6d70742e
      180a3332373639343330`),
  },
  /** RFC 2865 §7.3: the answer "99101462"; its State claims 16 bytes where 10 are left. */
  brokenAnswer: {
    request: hex(`01030043 b122556d428a13d0d6253807c457ecf0 01076d6f707379
      0212692c1f205fc081b919b95195f561a581 0406c0a80110 050600000007 18103332373639343330`),
    reply: hex('03030014 a42f4fca45916c4e09c8340f9e746aa0'),
  },
  /** RFC 5997 §6.1. */
  status: {
    request: hex(`0cda0026 8a54f4686fb394c52866e302185d0623
      50125a665e2e1e8411f3e243822097c84fa3`),
    reply: hex('02da0014 ef0d552a4bf2d693ec2b6fe8b5411d66'),
  },
  /** RFC 5997 §6.2, the query. */
  accountingStatus: {
    request: hex(`0cb30026 925f6b66dd5fed571fcb1db7ad388260
      5012e8d6eabda910875cd91fdade26367858`),
  },
};
