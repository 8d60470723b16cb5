export { Zephclient, Zephclient as default } from './zephclient.js';
export { ZephError } from './errors.js';
