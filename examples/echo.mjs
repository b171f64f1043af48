// An echo on NKN: `echo.mjs RPC_URL [ADDRESS …]` says back what comes, and hello to each ADDRESS.
import nkn from 'nkn-sdk';

const [rpcServerAddr, ...friends] = process.argv.slice(2);
const client = new nkn.Client({ identifier: 'echo', rpcServerAddr });
client.onMessage(({ payload }) => payload);
client.onConnect(async () => {
  console.log(client.addr);
  for (const friend of friends) console.log(await client.send(friend, 'hello from JavaScript'));
});
