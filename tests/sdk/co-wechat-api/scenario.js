// Sends a message for each scene on standard input, and prints the errcode of Weixin.

const { createInterface } = require('node:readline');
const { throughServer, tokenFromServer } = require('./moved.js');

const { TEST_APPID, TEST_ROUTE, TEST_TEMPLATE, TEST_WEIXIN, WXSUB_KEY } = process.env;
const through = TEST_ROUTE === 'ThroughServer';
const api = (through ? throughServer : tokenFromServer)(TEST_APPID, WXSUB_KEY);
if (!through) api.prefix = `${TEST_WEIXIN}/cgi-bin/`;

async function send(scene) {
  const data = { content: { value: 'It is here.', color: '#FF0000' } };
  try {
    await api.sendSubscribe('oUser', TEST_TEMPLATE, undefined, undefined, scene, 'Parcel', data);
    return 0;
  } catch (error) {
    return error.code ?? error.message;
  }
}

(async () => {
  for await (const scene of createInterface({ input: process.stdin })) console.log(await send(scene));
})();
