// For each scene on standard input, sends a message to the user who consented to it, and prints Weixin's errcode.

const { createInterface } = require('node:readline');
const { throughServer, tokenFromServer } = require('./moved.js');

const { STORY_APPID, STORY_SENDS, STORY_TEMPLATE, STORY_WEIXIN, WXSUB_KEY } = process.env;
const through = STORY_SENDS === 'ThroughServer';
const api = (through ? throughServer : tokenFromServer)(STORY_APPID, WXSUB_KEY);
if (!through) api.prefix = `${STORY_WEIXIN}/cgi-bin/`;

async function send(scene) {
  const data = { content: { value: 'It is here.', color: '#FF0000' } };
  try {
    await api.sendSubscribe('oUser', STORY_TEMPLATE, undefined, undefined, scene, 'Parcel', data);
    return 0;
  } catch (error) {
    return error.code ?? error.message;
  }
}

(async () => {
  for await (const scene of createInterface({ input: process.stdin })) console.log(await send(scene));
})();
