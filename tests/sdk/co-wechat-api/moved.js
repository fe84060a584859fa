const WechatAPI = require('co-wechat-api');

const SERVER = process.env.WXSUB_SERVER;

// Sends one-time messages through the control server, which serves no other calls.
function throughServer(appid, key) {
  const api = new WechatAPI(appid, key);
  api.prefix = `${SERVER}/cgi-bin/`;
  api.setOpts({ timeout: 35_000 });
  return api;
}

// Gets its token from the control server, and calls Weixin itself.
function tokenFromServer(appid, key) {
  const api = new WechatAPI(appid, key);
  const tokens = throughServer(appid, key);
  tokens.saveToken = (token) => api.saveToken(token);
  api.getAccessToken = () => tokens.getAccessToken();
  return api;
}

module.exports = { throughServer, tokenFromServer };
