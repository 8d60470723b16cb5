/** Pages that tests put beside the chat: as little as possible between the test and the client. */

/** `window.client`, and what it has told in `window.told`: [event, value]. */
export const PLAIN = `<!doctype html>
<title>Plain</title>
<link rel="icon" href="data:,">
<script src="/zephclient.js"></script>
<script>
const told = [];
const client = new Zephclient({session: 'plain', room: 'lobby'});
for (const event of ['state', 'welcome', 'recovered', 'error']) {
  client.on(event, (value) => told.push([event, {...value, message: value.message, code: value.code}]));
}
client.subscribe('chat', (data) => told.push(['chat', data]));
</script>
`;

/** The same from another place, with the client and the WebSocket of a server elsewhere. */
export const stranger = (http, ws) => PLAIN
  .replace('/zephclient.js', `${http}/zephclient.js`)
  .replace("room: 'lobby'", `room: 'lobby', url: '${ws}'`);

/** A page as it was written in 2015, with a client of that time: `window.old`. */
export const OLD = `<!doctype html>
<title>2015</title>
<link rel="icon" href="data:,">
<script>
function OldClient(session, url, room) {
  var self = this;
  this.heard = [];
  this.unknown = 0;
  this.subscribers = {};
  this.socket = new WebSocket(url);
  this.write = function (task, data) {
    var message = {task: task, data: data, room: room, session_id: session, date: new Date().getTime()};
    self.socket.send(JSON.stringify(message));
  };
  this.socket.onopen = function () {
    self.socket.send(JSON.stringify({session_id: session, room: room}));
    self.write('echo', 'first');
    self.write('echo', 'second');
    setInterval(function () { self.write('TaskPing', {}); }, OldClient.PING);
  };
  this.socket.onmessage = function (event) {
    var message = JSON.parse(event.data);
    var callbacks = self.subscribers[message.task];
    if (!callbacks) { self.unknown += 1; return; }
    for (var i = 0; i < callbacks.length; i++) callbacks[i](message.data);
  };
}
OldClient.PING = 45000;
OldClient.prototype.subscribe = function (task, callback) {
  (this.subscribers[task] = this.subscribers[task] || []).push(callback);
};
OldClient.prototype.send = function (task, data) { this.write(task, data); };

var heard = {echo: [], chat: [], TaskPing: []};
OldClient.PING = Number(new URLSearchParams(location.search).get('ping') || OldClient.PING);
var old = new OldClient({id: 7, username: 'old hand'}, 'ws://' + location.host + '/ws', 'lobby');
['echo', 'chat', 'TaskPing'].forEach(function (task) {
  old.subscribe(task, function (data) { heard[task].push(data); });
});
</script>
`;
